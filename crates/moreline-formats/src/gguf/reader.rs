//! A cursor over a GGUF header that never reads or allocates beyond the file.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::value::{Array, Value};
use crate::error::FormatError;

/// Reads the header front to back, counting what is left of the file.
pub(super) struct HeaderReader<'a> {
    path: &'a Path,
    input: BufReader<&'a File>,
    position: u64,
    size: u64,
}

impl<'a> HeaderReader<'a> {
    pub(super) fn new(path: &'a Path, file: &'a File, size: u64) -> Self {
        Self {
            path,
            input: BufReader::with_capacity(1 << 16, file),
            position: 0,
            size,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn malformed(&self, reason: impl Into<String>) -> FormatError {
        FormatError::malformed(self.path, reason)
    }

    /// Refuses `count` items of at least `each` bytes that the file cannot hold.
    pub(super) fn check_room(&self, what: &str, count: u64, each: u64) -> Result<(), FormatError> {
        let left = self.size - self.position;
        match count.checked_mul(each) {
            Some(bytes) if bytes <= left => Ok(()),
            _ => Err(self.malformed(format!(
                "{what}: {count} announced at byte {}, but only {left} bytes are left; the file \
                 is truncated or damaged",
                self.position
            ))),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.check_room("bytes of a value", N as u64, 1)?;
        let mut buffer = [0; N];
        self.input
            .read_exact(&mut buffer)
            .map_err(|e| FormatError::io("read", self.path, e))?;
        self.position += N as u64;
        Ok(buffer)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    pub(super) fn string(&mut self, what: &str) -> Result<String, FormatError> {
        let length = self.u64()?;
        self.check_room(what, length, 1)?;
        let mut buffer = vec![0; length as usize];
        self.input
            .read_exact(&mut buffer)
            .map_err(|e| FormatError::io("read", self.path, e))?;
        self.position += length;
        String::from_utf8(buffer).map_err(|_| {
            self.malformed(format!("{what} before byte {} is not UTF-8", self.position))
        })
    }

    fn bool(&mut self) -> Result<bool, FormatError> {
        let [byte] = self.bytes()?;
        match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed(format!("a bool at byte {} is {byte}", self.position - 1))),
        }
    }

    /// A value of the type with the given number.
    pub(super) fn value(&mut self, kind: u32) -> Result<Value, FormatError> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(u8::from_le_bytes(self.bytes()?))),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.bytes()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.bytes()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.bytes()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.bytes()?))),
            6 => Value::F32(f32::from_le_bytes(self.bytes()?)),
            7 => Value::Bool(self.bool()?),
            8 => Value::String(self.string("a metadata string")?),
            9 => Value::Array(self.array()?),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.bytes()?)),
            12 => Value::F64(f64::from_le_bytes(self.bytes()?)),
            _ => return Err(self.malformed(format!("{kind} is not the number of a metadata type"))),
        })
    }

    fn array(&mut self) -> Result<Array, FormatError> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let each = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => return Err(self.malformed("it holds an array of arrays, which is not supported")),
            _ => return Err(self.malformed(format!("{kind} is not the number of a metadata type"))),
        };
        self.check_room("elements of a metadata array", count, each)?;
        let n = count as usize;
        Ok(match kind {
            0 => Array::Unsigned(self.many(n, |r| Ok(u64::from(u8::from_le_bytes(r.bytes()?))))?),
            1 => Array::Signed(self.many(n, |r| Ok(i64::from(i8::from_le_bytes(r.bytes()?))))?),
            2 => Array::Unsigned(self.many(n, |r| Ok(u64::from(u16::from_le_bytes(r.bytes()?))))?),
            3 => Array::Signed(self.many(n, |r| Ok(i64::from(i16::from_le_bytes(r.bytes()?))))?),
            4 => Array::Unsigned(self.many(n, |r| Ok(u64::from(r.u32()?)))?),
            5 => Array::Signed(self.many(n, |r| Ok(i64::from(i32::from_le_bytes(r.bytes()?))))?),
            6 => Array::F32(self.many(n, |r| Ok(f32::from_le_bytes(r.bytes()?)))?),
            7 => Array::Bool(self.many(n, Self::bool)?),
            8 => Array::String(self.many(n, |r| r.string("a string in a metadata array"))?),
            10 => Array::Unsigned(self.many(n, Self::u64)?),
            11 => Array::Signed(self.many(n, |r| Ok(i64::from_le_bytes(r.bytes()?)))?),
            _ => Array::F64(self.many(n, |r| Ok(f64::from_le_bytes(r.bytes()?)))?),
        })
    }

    fn many<T>(
        &mut self,
        count: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        // Grows as elements arrive: a count that lies runs into the end of the file first.
        let mut items = Vec::with_capacity(count.min(1 << 16));
        for _ in 0..count {
            items.push(one(self)?);
        }
        Ok(items)
    }
}
