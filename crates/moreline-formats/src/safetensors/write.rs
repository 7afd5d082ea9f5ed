//! Writing `.safetensors` files, sharded where they would be too large.

use std::path::{Path, PathBuf};

use crate::error::FormatError;
use crate::tensor::{Dtype, HostTensor};

/// A file is split when its tensors would exceed this many bytes (transformers' default, 5 GB).
pub const DEFAULT_SHARD_BYTES: u64 = 5_000_000_000;

/// A tensor to be written: what the header says before any byte is produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its Hugging Face name.
    pub name: String,
    /// `F32`, `Bf16`, `F16` or `I64`.
    pub dtype: Dtype,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
}

/// Writes a model's tensors into `dir`: `model.safetensors`, or shards of at most `max_shard_bytes`
/// (a single larger tensor gets its own) with `model.safetensors.index.json`. Each tensor is asked
/// of `read` just before it is written, so one at a time is in memory; it must have the type and
/// shape of its spec. The bytes depend on the specs and the data only, not on the order of `specs`.
/// Returns the files written. Atomicity is the caller's: `dir` is expected to be an attempt.
///
/// # Errors
/// Two specs of one name, a tensor that differs from its spec, the system's errors, and whatever
/// `read` returns.
pub fn write_model<E: From<FormatError>>(
    dir: &Path,
    specs: &[TensorSpec],
    max_shard_bytes: u64,
    read: impl FnMut(&TensorSpec) -> Result<HostTensor, E>,
) -> Result<Vec<PathBuf>, E> {
    let _ = (dir, specs, max_shard_bytes, read);
    todo!()
}

/// Writes one `.safetensors` file of tensors in memory.
///
/// # Errors
/// As [`write_model`].
pub fn write_file(path: &Path, tensors: &[(String, HostTensor)]) -> Result<(), FormatError> {
    let _ = (path, tensors);
    todo!()
}
