//! SHA-256 digests, and the canonical encoding that keys are hashed from.

mod canonical;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

pub use canonical::Canonical;

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
