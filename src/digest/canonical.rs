//! The canonical encoding that keys are hashed from.
//!
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

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Digest;

/// Encoder of keys; `digest/canonical.rs` states the rules.
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
