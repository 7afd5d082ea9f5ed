//! The GGUF format, versions 2 and 3, little-endian.
//!
//! Layout: magic, version, counts, metadata (key, type, value), tensor entries (name, dimensions
//! innermost first, type, offset), padding, data. See the specification in the ggml repository,
//! `docs/gguf.md`.

mod dequantise;
mod ggml_type;
mod layout;
mod reader;
mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use ggml_type::GgmlType;
pub use value::{Array, Value};

use crate::error::FormatError;
use crate::tensor::HostTensor;

/// An opened `.gguf` file: metadata and tensor entries in memory, data on disk.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    file: File,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<GgufTensor>,
}

/// One tensor's entry, checked against the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its GGUF name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// How its elements are stored.
    pub ggml_type: GgmlType,
    /// Outermost dimension first (the file stores the reverse).
    pub shape: Vec<usize>,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Number of its bytes.
    pub bytes: usize,
}

impl Gguf {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// Another version or byte order, counts and lengths beyond the file, duplicate keys or names,
    /// unknown types, overlapping or truncated data.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(|e| FormatError::io("open", path, e))?;
        let size = file
            .metadata()
            .map_err(|e| FormatError::io("read", path, e))?
            .len();
        let header = layout::read_header(path, &file, size)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            metadata: header.metadata,
            tensors: header.tensors,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every tensor, in the order of the file.
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// A tensor by its GGUF name.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A metadata integer; `None` if absent.
    ///
    /// # Errors
    /// Another type, or a negative number.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, FormatError> {
        self.typed(key, "an unsigned integer", Value::as_u64)
    }

    /// A metadata float; `None` if absent. Single precision is widened by its shortest decimal
    /// form, so that a stored `1e-5` reads as `1e-5`.
    ///
    /// # Errors
    /// Another type.
    pub fn float(&self, key: &str) -> Result<Option<f64>, FormatError> {
        self.typed(key, "a float", Value::as_f64)
    }

    /// A metadata flag; `None` if absent.
    ///
    /// # Errors
    /// Another type.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, FormatError> {
        self.typed(key, "a bool", Value::as_bool)
    }

    /// A metadata string; `None` if absent.
    ///
    /// # Errors
    /// Another type.
    pub fn string(&self, key: &str) -> Result<Option<&str>, FormatError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A metadata array; `None` if absent.
    ///
    /// # Errors
    /// Another type.
    pub fn array(&self, key: &str) -> Result<Option<&Array>, FormatError> {
        self.typed(key, "an array", Value::as_array)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.metadata.get(key) else {
            return Ok(None);
        };
        let wrong = || FormatError::key(&self.path, key, format!("it should be {expected}"));
        convert(value).map(Some).ok_or_else(wrong)
    }

    /// Reads a tensor: `F32`, `F16` and `BF16` as stored, quantised types as `f32`.
    ///
    /// # Errors
    /// The system's, such as a file cut short since it was opened.
    pub fn read(&self, tensor: &GgufTensor) -> Result<HostTensor, FormatError> {
        let mut bytes = vec![0; tensor.bytes];
        self.file
            .read_exact_at(&mut bytes, tensor.offset)
            .map_err(|e| {
                FormatError::tensor(
                    &self.path,
                    &tensor.name,
                    format!("its data cannot be read: {e}"),
                )
            })?;
        let data = dequantise::to_host(tensor.ggml_type, &bytes);
        Ok(HostTensor {
            shape: tensor.shape.clone(),
            data,
        })
    }
}

#[cfg(test)]
mod tests;
