//! SHA-256 digests and the canonical encoding that keys are hashed from.
//!
//! # Canonical encoding
//! A [`Canonical`] encoder starts with a domain name and takes values one
//! after the other. Every value is self-delimiting, so that no two sequences
//! of values share an encoding:
//!
//! | value | bytes |
//! | --- | --- |
//! | unsigned integer | 8 bytes, little endian |
//! | string | length as unsigned integer, then UTF-8 |
//! | digest | its 32 bytes |
//! | optional | byte 0, or byte 1 and the value |
//! | JSON null, false, true | byte 0, 1, 2 |
//! | JSON non-negative integer | byte 3, then the unsigned integer |
//! | JSON negative integer | byte 4, then 8 bytes, two's complement, little endian |
//! | JSON number with a fraction | byte 5, then the 8 bytes of its IEEE 754 bits, little endian |
//! | JSON string | byte 6, then the string |
//! | JSON array | byte 7, count, then its items |
//! | JSON object | byte 8, count, then name and value in byte order of the names |
//!
//! In objects, members whose value is null count as absent. A golden test
//! pins the result: changing a rule would silently discard every cache.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Bytes read at once when hashing: few enough to be hashed from a core's own
/// cache.
const CHUNK: usize = 256 << 10;
/// Files of so many bytes are read ahead.
const LARGE: u64 = 32 << 20;
/// Pieces read ahead of the one being hashed.
const AHEAD: usize = 4;

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest of 64 hexadecimal digits")]
pub struct ParseDigestError(String);

impl Digest {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of everything a reader gives, and the number of its bytes.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<(Self, u64)> {
        let mut stream = DigestStream::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(stream.finish()),
                Ok(count) => stream.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of a file and its size in bytes. A large file is read ahead
    /// while it is hashed.
    pub fn of_file(path: &Path) -> io::Result<(Self, u64)> {
        let mut file = File::open(path)?;
        match file.metadata()?.len() < LARGE {
            true => Self::of_reader(&mut file),
            false => Self::of_reader_ahead(&mut file),
        }
    }

    /// [`Digest::of_reader`] with the reading on a thread of its own, a few
    /// pieces ahead.
    fn of_reader_ahead(reader: &mut (impl Read + Send)) -> io::Result<(Self, u64)> {
        let (full, filled) = mpsc::sync_channel::<io::Result<Vec<u8>>>(AHEAD);
        let (empty, emptied) = mpsc::channel();
        (0..=AHEAD).for_each(|_| drop(empty.send(Vec::with_capacity(CHUNK))));
        thread::scope(|scope| {
            scope.spawn(move || {
                for mut piece in emptied {
                    let mut part = reader.by_ref().take(CHUNK as u64);
                    let read = part.read_to_end(&mut piece).map(|_| piece);
                    let is_last = !matches!(&read, Ok(piece) if !piece.is_empty());
                    if full.send(read).is_err() || is_last {
                        return;
                    }
                }
            });
            let mut stream = DigestStream::default();
            for piece in filled {
                let mut piece = piece?;
                stream.update(&piece);
                piece.clear();
                let _ = empty.send(piece);
            }
            Ok(stream.finish())
        })
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

/// Hashes a stream piece by piece.
#[derive(Default)]
pub struct DigestStream {
    hasher: Sha256,
    bytes: u64,
}

impl DigestStream {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The digest and the number of bytes taken.
    pub fn finish(self) -> (Digest, u64) {
        (Digest(self.hasher.finalize().into()), self.bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0u8; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDigestError(text.chars().take(80).collect());
        let nibble = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(error()),
        };
        if text.len() != 64 {
            return Err(error());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(digest))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Encoder of keys; see the module's documentation for the rules.
pub struct Canonical(Sha256);

impl Canonical {
    /// Starts an encoding of its own kind.
    pub fn new(domain: &str) -> Self {
        let mut encoder = Self(Sha256::new());
        encoder.str(domain);
        encoder
    }

    /// Adds an unsigned integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.update(value.to_le_bytes());
        self
    }

    /// Adds an optional unsigned integer.
    pub fn optional_u64(&mut self, value: Option<u64>) -> &mut Self {
        self.0.update([u8::from(value.is_some())]);
        if let Some(value) = value {
            self.u64(value);
        }
        self
    }

    /// Adds a string.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.u64(value.len() as u64);
        self.0.update(value.as_bytes());
        self
    }

    /// Adds a digest.
    pub fn digest(&mut self, value: &Digest) -> &mut Self {
        self.0.update(value.0);
        self
    }

    /// Adds a JSON value.
    pub fn json(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.tag(0),
            Value::Bool(false) => self.tag(1),
            Value::Bool(true) => self.tag(2),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.tag(6).str(text),
            Value::Array(items) => {
                self.tag(7).u64(items.len() as u64);
                items.iter().fold(self, |encoder, item| encoder.json(item))
            }
            Value::Object(members) => self.object(members),
        }
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    fn tag(&mut self, tag: u8) -> &mut Self {
        self.0.update([tag]);
        self
    }

    fn number(&mut self, number: &serde_json::Number) -> &mut Self {
        if let Some(value) = number.as_u64() {
            return self.tag(3).u64(value);
        }
        let (tag, bytes) = match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => (4, value.to_le_bytes()),
            (None, value) => (5, value.unwrap_or(f64::NAN).to_bits().to_le_bytes()),
        };
        self.tag(tag).0.update(bytes);
        self
    }

    fn object(&mut self, members: &serde_json::Map<String, Value>) -> &mut Self {
        let mut present: Vec<_> = members.iter().filter(|(_, v)| !v.is_null()).collect();
        present.sort_by_key(|(name, _)| name.as_bytes());
        self.tag(8).u64(present.len() as u64);
        for (name, value) in present {
            self.str(name).json(value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn encoded(value: &Value) -> Digest {
        let mut encoder = Canonical::new("test");
        encoder.json(value);
        encoder.finish()
    }

    #[test]
    fn reading_ahead_changes_nothing() {
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 7 * CHUNK + 5] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let ahead = Digest::of_reader_ahead(&mut &bytes[..]).unwrap();
            assert_eq!(ahead, (Digest::of(&bytes), size as u64));
        }
    }

    #[test]
    fn a_failure_while_reading_ahead_is_told() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let error = Digest::of_reader_ahead(&mut Broken).unwrap_err();
        assert_eq!(error.to_string(), "the disk is gone");
    }

    #[test]
    fn digests_are_sha_256() {
        // FIPS 180-4, the one-block example.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), expected);
        let (streamed, bytes) = Digest::of_reader(&mut &b"abc"[..]).unwrap();
        assert_eq!((streamed.to_string().as_str(), bytes), (expected, 3));
        assert_eq!(expected.parse(), Ok(Digest::of(b"abc")));
    }

    #[test]
    fn other_texts_are_no_digests() {
        let good = Digest::of(b"abc").to_string();
        for bad in [
            "",
            "ab",
            &good.to_uppercase(),
            &good[1..],
            &format!("{good}0"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        let json = serde_json::to_string(&Digest::of(b"abc")).unwrap();
        assert_eq!(
            serde_json::from_str::<Digest>(&json).unwrap(),
            Digest::of(b"abc")
        );
        assert!(serde_json::from_str::<Digest>("\"no\"").is_err());
    }

    #[test]
    fn order_and_nulls_do_not_count_but_everything_else_does() {
        let base = json!({"a": 1, "b": [0.5, "x"]});
        assert_eq!(
            encoded(&base),
            encoded(&serde_json::from_str(r#"{"b": [0.5, "x"], "c": null, "a": 1}"#).unwrap())
        );
        for other in [
            json!({"a": 1.0, "b": [0.5, "x"]}),
            json!({"a": -1, "b": [0.5, "x"]}),
            json!({"a": "1", "b": [0.5, "x"]}),
            json!({"a": true, "b": [0.5, "x"]}),
            json!({"a": 1, "b": ["x", 0.5]}),
            json!({"a": 1, "b": [0.5, ["x"]]}),
            json!({"a": 1, "b": [0.500_000_000_000_000_1, "x"]}),
            json!({"ab": 1, "": [0.5, "x"]}),
        ] {
            assert_ne!(encoded(&base), encoded(&other), "{other}");
        }
    }

    #[test]
    fn the_encoding_is_pinned() {
        let mut encoder = Canonical::new("pin");
        encoder
            .u64(7)
            .optional_u64(None)
            .optional_u64(Some(u64::MAX))
            .digest(&Digest::of(b"abc"))
            .json(&json!({"z": [null, false, true, 3, -3, 1e-5], "a": {"é": "ß"}}));
        // SHA-256 of the bytes the table above describes, put together by hand.
        let mut bytes = Vec::new();
        let mut push = |part: &[u8]| bytes.extend_from_slice(part);
        let int = |value: u64| value.to_le_bytes();
        push(&int(3));
        push(b"pin");
        push(&int(7));
        push(&[0, 1]);
        push(&[0xff; 8]);
        push(&Digest::of(b"abc").0);
        push(&[8]);
        push(&int(2));
        push(&int(1));
        push(b"a");
        push(&[8]);
        push(&int(1));
        push(&int(2));
        push("é".as_bytes());
        push(&[6]);
        push(&int(2));
        push("ß".as_bytes());
        push(&int(1));
        push(b"z");
        push(&[7]);
        push(&int(6));
        push(&[0, 1, 2, 3]);
        push(&int(3));
        push(&[4]);
        push(&(-3i64).to_le_bytes());
        push(&[5]);
        push(&1e-5f64.to_bits().to_le_bytes());
        assert_eq!(encoder.finish(), Digest::of(&bytes));
    }

    proptest! {
        #[test]
        fn neighbouring_strings_do_not_run_together(a in ".*", b in ".*", c in ".*", d in ".*") {
            let pair = |x: &str, y: &str| {
                let mut encoder = Canonical::new("test");
                encoder.str(x).str(y);
                encoder.finish()
            };
            prop_assert_eq!(pair(&a, &b) == pair(&c, &d), (&a, &b) == (&c, &d));
        }

        #[test]
        fn digests_survive_their_text(bytes: Vec<u8>) {
            let digest = Digest::of(&bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }
}
