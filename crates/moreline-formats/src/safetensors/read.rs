//! Reading one `.safetensors` file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use super::header::{self, Entry, MAX_HEADER_BYTES};
use crate::error::FormatError;
use crate::tensor::{Dtype, HostData, HostTensor, TensorInfo};

/// An opened `.safetensors` file: its header in memory, its data on disk.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    file: File,
    metadata: BTreeMap<String, String>,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

impl SafetensorsFile {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// A header longer than the file, malformed JSON, duplicate names, shapes that do not fill
    /// their bytes, data that overlaps, leaves holes or is truncated.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(|e| FormatError::io("open", path, e))?;
        let meta = file
            .metadata()
            .map_err(|e| FormatError::io("read", path, e))?;
        if !meta.is_file() {
            return Err(FormatError::malformed(path, "it is not a regular file"));
        }
        let size = meta.len();
        let length = header_length(path, &file, size)?;
        let mut json = vec![0; length as usize];
        file.read_exact_at(&mut json, 8)
            .map_err(|e| FormatError::io("read", path, e))?;
        let (metadata, entries) = header::parse(path, &json, 8 + length, size)?;
        let by_name = entries
            .iter()
            .enumerate()
            .map(|(i, e)| (e.info.name.clone(), i))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            file,
            metadata,
            entries,
            by_name,
        })
    }

    /// The header's `__metadata__`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Every tensor, in the order of the header.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.entries.iter().map(|e| &e.info)
    }

    /// One tensor's entry.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&i| &self.entries[i].info)
    }

    /// Reads one tensor; `F64` is narrowed to `f32`, `I32` widened to `i64`.
    ///
    /// # Errors
    /// No such tensor, a type that cannot be read, or the system's errors.
    pub fn read(&self, name: &str) -> Result<HostTensor, FormatError> {
        let &index = self
            .by_name
            .get(name)
            .ok_or_else(|| FormatError::MissingTensor {
                path: self.path.clone(),
                tensor: name.to_owned(),
            })?;
        let entry = &self.entries[index];
        let dtype = entry.info.dtype;
        if let Dtype::Other(_) | Dtype::Quantised(_) = dtype {
            let reason = format!(
                "its type is {}; moreline reads F64, F32, BF16, F16, I64 and I32",
                dtype.name()
            );
            return Err(FormatError::tensor(&self.path, name, reason));
        }
        let mut bytes = vec![0; entry.bytes];
        self.file
            .read_exact_at(&mut bytes, entry.offset)
            .map_err(|e| {
                FormatError::tensor(&self.path, name, format!("its data cannot be read: {e}"))
            })?;
        Ok(HostTensor {
            shape: entry.info.shape.clone(),
            data: decode(dtype, &bytes),
        })
    }
}

fn header_length(path: &Path, file: &File, size: u64) -> Result<u64, FormatError> {
    if size < 8 {
        let reason = format!("{size} bytes are too few for a safetensors file");
        return Err(FormatError::malformed(path, reason));
    }
    let mut prefix = [0; 8];
    file.read_exact_at(&mut prefix, 0)
        .map_err(|e| FormatError::io("read", path, e))?;
    let length = u64::from_le_bytes(prefix);
    if length > MAX_HEADER_BYTES || length > size - 8 {
        let reason = format!(
            "it announces a header of {length} bytes, but only {} follow; the file is truncated \
             or not a safetensors file",
            size - 8
        );
        return Err(FormatError::malformed(path, reason));
    }
    Ok(length)
}

fn decode(dtype: Dtype, bytes: &[u8]) -> HostData {
    fn each<const N: usize, T>(bytes: &[u8], one: fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&b| one(b)).collect()
    }
    match dtype {
        Dtype::F64 => HostData::F32(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        Dtype::Bf16 => HostData::Bf16(each(bytes, bf16::from_le_bytes)),
        Dtype::F16 => HostData::F16(each(bytes, f16::from_le_bytes)),
        Dtype::I64 => HostData::I64(each(bytes, i64::from_le_bytes)),
        Dtype::I32 => HostData::I64(each(bytes, |b| i32::from_le_bytes(b).into())),
        _ => HostData::F32(each(bytes, f32::from_le_bytes)),
    }
}
