//! Writing `.safetensors` files, sharded where they would be too large.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::FormatError;
use crate::tensor::{Dtype, HostData, HostTensor};

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
    mut read: impl FnMut(&TensorSpec) -> Result<HostTensor, E>,
) -> Result<Vec<PathBuf>, E> {
    let mut sorted: Vec<&TensorSpec> = specs.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let shards = split(dir, &sorted, max_shard_bytes)?;
    let mut written = Vec::new();
    let mut weight_map = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        let file = match shards.len() {
            1 => "model.safetensors".to_owned(),
            n => format!("model-{:05}-of-{n:05}.safetensors", i + 1),
        };
        let path = dir.join(&file);
        write_one(&path, shard, &mut read)?;
        weight_map.extend(shard.iter().map(|spec| (spec.name.clone(), file.clone())));
        written.push(path);
    }
    if shards.len() > 1 {
        written.push(write_index(dir, &sorted, &weight_map)?);
    }
    Ok(written)
}

/// Writes one `.safetensors` file of tensors in memory.
///
/// # Errors
/// As [`write_model`].
pub fn write_file(path: &Path, tensors: &[(String, HostTensor)]) -> Result<(), FormatError> {
    let by_name: BTreeMap<&str, &HostTensor> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    if by_name.len() != tensors.len() {
        return Err(FormatError::malformed(path, "two tensors have one name"));
    }
    let spec = |(name, tensor): (&&str, &&HostTensor)| TensorSpec {
        name: (*name).to_owned(),
        dtype: tensor.data.dtype(),
        shape: tensor.shape.clone(),
    };
    let specs: Vec<_> = by_name.iter().map(spec).collect();
    let shard: Vec<_> = specs.iter().collect();
    write_one(path, &shard, |spec| {
        Ok::<_, FormatError>(by_name[spec.name.as_str()].clone())
    })
}

/// Writes one `.safetensors` file whose tensors do not fit into memory together: each is asked of
/// `read` just before it is written, and must have the type and shape of its spec.
///
/// # Errors
/// As [`write_model`].
pub fn write_lazily<E: From<FormatError>>(
    path: &Path,
    specs: &[TensorSpec],
    mut read: impl FnMut(&TensorSpec) -> Result<HostTensor, E>,
) -> Result<(), E> {
    let mut sorted: Vec<&TensorSpec> = specs.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for shard in split(path, &sorted, u64::MAX)? {
        write_one(path, &shard, &mut read)?;
    }
    Ok(())
}

fn split<'a>(
    dir: &Path,
    sorted: &[&'a TensorSpec],
    max_shard_bytes: u64,
) -> Result<Vec<Vec<&'a TensorSpec>>, FormatError> {
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(FormatError::tensor(
            dir,
            &pair[0].name,
            "it is to be written twice",
        ));
    }
    let mut shards = vec![Vec::new()];
    let mut filled = 0_u64;
    for &spec in sorted {
        let bytes = byte_len(dir, spec)?;
        if filled > 0 && filled.saturating_add(bytes) > max_shard_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled = filled.saturating_add(bytes);
        shards
            .last_mut()
            .expect("there is always a shard")
            .push(spec);
    }
    Ok(shards)
}

fn width(dtype: Dtype) -> Option<u64> {
    match dtype {
        Dtype::I64 => Some(8),
        Dtype::F32 => Some(4),
        Dtype::Bf16 | Dtype::F16 => Some(2),
        Dtype::F64 | Dtype::I32 | Dtype::Quantised(_) | Dtype::Other(_) => None,
    }
}

fn byte_len(path: &Path, spec: &TensorSpec) -> Result<u64, FormatError> {
    let fail = |reason: String| FormatError::tensor(path, &spec.name, reason);
    let width = width(spec.dtype)
        .ok_or_else(|| fail(format!("{} cannot be written", spec.dtype.name())))?;
    spec.shape
        .iter()
        .try_fold(width, |n, &d| n.checked_mul(d as u64))
        .ok_or_else(|| fail(format!("its shape {:?} overflows", spec.shape)))
}

/// Writes one file. Wider types come first, as the published writer has it, so that each tensor is
/// aligned to its width; among equals the order is that of the names.
fn write_one<E: From<FormatError>>(
    path: &Path,
    shard: &[&TensorSpec],
    mut read: impl FnMut(&TensorSpec) -> Result<HostTensor, E>,
) -> Result<(), E> {
    let mut order = shard.to_vec();
    order.sort_by_key(|spec| std::cmp::Reverse(width(spec.dtype)));
    let header = header(path, &order)?;
    let io = |e| FormatError::io("write", path, e);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?);
    out.write_all(&(header.len() as u64).to_le_bytes())
        .map_err(io)?;
    out.write_all(header.as_bytes()).map_err(io)?;
    for spec in order {
        let tensor = read(spec)?;
        check(path, spec, &tensor)?;
        write_data(&mut out, &tensor.data).map_err(io)?;
    }
    out.flush().map_err(io)?;
    Ok(())
}

/// The header, padded with spaces to a multiple of eight.
fn header(path: &Path, order: &[&TensorSpec]) -> Result<String, FormatError> {
    let mut text = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut begin = 0_u64;
    for spec in order {
        let overflow = || FormatError::malformed(path, "its size overflows");
        let end = begin
            .checked_add(byte_len(path, spec)?)
            .ok_or_else(overflow)?;
        let (name, shape) = (json!(spec.name), json!(spec.shape));
        let dtype = spec.dtype.name();
        text.push_str(&format!(
            r#",{name}:{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#
        ));
        begin = end;
    }
    text.push('}');
    text.extend(std::iter::repeat_n(
        ' ',
        text.len().next_multiple_of(8) - text.len(),
    ));
    Ok(text)
}

fn check(path: &Path, spec: &TensorSpec, tensor: &HostTensor) -> Result<(), FormatError> {
    if tensor.shape != spec.shape {
        return Err(FormatError::Shape {
            path: path.to_owned(),
            tensor: spec.name.clone(),
            found: tensor.shape.clone(),
            expected: spec.shape.clone(),
        });
    }
    let (found, expected) = (tensor.data.dtype(), spec.dtype);
    let elements: usize = spec.shape.iter().product();
    if found != expected || tensor.data.len() != elements {
        let reason = format!(
            "{} elements of {} were to be written, {} of {} are there",
            elements,
            expected.name(),
            tensor.data.len(),
            found.name()
        );
        return Err(FormatError::tensor(path, &spec.name, reason));
    }
    Ok(())
}

fn write_data(out: &mut impl Write, data: &HostData) -> std::io::Result<()> {
    match data {
        HostData::F32(v) => v.iter().try_for_each(|x| out.write_all(&x.to_le_bytes())),
        HostData::Bf16(v) => v.iter().try_for_each(|x| out.write_all(&x.to_le_bytes())),
        HostData::F16(v) => v.iter().try_for_each(|x| out.write_all(&x.to_le_bytes())),
        HostData::I64(v) => v.iter().try_for_each(|x| out.write_all(&x.to_le_bytes())),
    }
}

fn write_index(
    dir: &Path,
    sorted: &[&TensorSpec],
    weight_map: &BTreeMap<String, String>,
) -> Result<PathBuf, FormatError> {
    let path = dir.join("model.safetensors.index.json");
    let total = sorted
        .iter()
        .map(|spec| byte_len(dir, spec))
        .sum::<Result<u64, _>>()?;
    let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
    let text = format!("{index:#}\n");
    std::fs::write(&path, text).map_err(|e| FormatError::io("write", &path, e))?;
    Ok(path)
}
