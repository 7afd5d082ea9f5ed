//! Reading and checking a GGUF header.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::Path;

use super::GgufTensor;
use super::ggml_type::GgmlType;
use super::reader::HeaderReader;
use super::value::Value;
use crate::error::FormatError;

const MAGIC: u32 = u32::from_le_bytes(*b"GGUF");
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_DIMENSIONS: u32 = 4;
/// Key length and type at the least: 8 + 4 + 1 bytes.
const MIN_METADATA_BYTES: u64 = 13;
/// Name length, dimension count, type and offset at the least: 8 + 4 + 4 + 8 bytes.
const MIN_TENSOR_BYTES: u64 = 24;

pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: Vec<GgufTensor>,
}

/// A tensor entry as written, its offset still relative to the data section.
struct Entry {
    name: String,
    ggml_type: GgmlType,
    shape: Vec<usize>,
    relative: u64,
    bytes: u64,
}

pub(super) fn read_header(path: &Path, file: &File, size: u64) -> Result<Header, FormatError> {
    let mut reader = HeaderReader::new(path, file, size);
    if size < 24 || reader.u32()? != MAGIC {
        return Err(reader.malformed("it does not begin as a GGUF file does"));
    }
    match reader.u32()? {
        2 | 3 => {}
        version if version.swap_bytes() <= 3 => {
            return Err(reader.malformed("it is a big-endian GGUF file, which is not supported"));
        }
        version => {
            return Err(reader.malformed(format!("its GGUF version is {version}, not 2 or 3")));
        }
    }
    let tensor_count = reader.u64()?;
    let metadata_count = reader.u64()?;
    reader.check_room("metadata entries", metadata_count, MIN_METADATA_BYTES)?;
    let metadata = read_metadata(&mut reader, metadata_count)?;
    reader.check_room("tensor entries", tensor_count, MIN_TENSOR_BYTES)?;
    let entries = (0..tensor_count)
        .map(|_| read_entry(path, &mut reader))
        .collect::<Result<Vec<_>, _>>()?;
    let alignment = alignment(&reader, &metadata)?;
    let data_start = reader
        .position()
        .checked_next_multiple_of(alignment)
        .ok_or_else(|| reader.malformed("its alignment exceeds every file"))?;
    let tensors = place(path, entries, data_start, alignment, size)?;
    Ok(Header { metadata, tensors })
}

fn read_metadata(
    reader: &mut HeaderReader<'_>,
    count: u64,
) -> Result<BTreeMap<String, Value>, FormatError> {
    let mut metadata = BTreeMap::new();
    for _ in 0..count {
        let key = reader.string("a metadata key")?;
        let kind = reader.u32()?;
        let value = reader.value(kind)?;
        if metadata.contains_key(&key) {
            return Err(reader.malformed(format!("the metadata key `{key}` occurs twice")));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(
    reader: &HeaderReader<'_>,
    metadata: &BTreeMap<String, Value>,
) -> Result<u64, FormatError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(value) => match value.as_u64() {
            Some(a) if a >= 8 && a % 8 == 0 => Ok(a),
            _ => Err(reader.malformed("`general.alignment` is not a positive multiple of 8")),
        },
    }
}

fn read_entry(path: &Path, reader: &mut HeaderReader<'_>) -> Result<Entry, FormatError> {
    let name = reader.string("a tensor name")?;
    let dimensions = reader.u32()?;
    if dimensions > MAX_DIMENSIONS {
        let reason = format!("it has {dimensions} dimensions, the format allows {MAX_DIMENSIONS}");
        return Err(FormatError::tensor(path, &name, reason));
    }
    let mut shape = (0..dimensions)
        .map(|_| {
            reader
                .u64()
                .map(|d| usize::try_from(d).unwrap_or(usize::MAX))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let number = reader.u32()?;
    let relative = reader.u64()?;
    let ggml_type = GgmlType::from_number(number).map_err(|kind| {
        let known: Vec<_> = GgmlType::ALL.iter().map(|t| t.name()).collect();
        let reason = format!("its type is {kind}; moreline reads {}", known.join(", "));
        FormatError::tensor(path, &name, reason)
    })?;
    let bytes = data_bytes(ggml_type, &shape).map_err(|r| FormatError::tensor(path, &name, r))?;
    shape.reverse();
    Ok(Entry {
        name,
        ggml_type,
        shape,
        relative,
        bytes,
    })
}

/// Bytes of a tensor whose innermost dimension is first.
fn data_bytes(ggml_type: GgmlType, innermost_first: &[usize]) -> Result<u64, String> {
    let row = innermost_first.first().copied().unwrap_or(1);
    let block = ggml_type.block_len();
    if row % block != 0 {
        return Err(format!(
            "its rows have {row} elements, not a multiple of {block} as {} needs",
            ggml_type.name()
        ));
    }
    let overflow = || format!("its shape {innermost_first:?} overflows");
    let elements = innermost_first
        .iter()
        .try_fold(1_u64, |n, &d| n.checked_mul(d as u64))
        .ok_or_else(overflow)?;
    (elements / block as u64)
        .checked_mul(ggml_type.block_bytes() as u64)
        .ok_or_else(overflow)
}

/// Checks that every tensor's bytes lie in the file, aligned and apart from the others.
fn place(
    path: &Path,
    entries: Vec<Entry>,
    data_start: u64,
    alignment: u64,
    size: u64,
) -> Result<Vec<GgufTensor>, FormatError> {
    let mut names = HashSet::new();
    let mut tensors = Vec::with_capacity(entries.len());
    for entry in entries {
        let fail = |reason: String| FormatError::tensor(path, &entry.name, reason);
        if !names.insert(entry.name.clone()) {
            return Err(fail("it is listed twice".into()));
        }
        if entry.relative % alignment != 0 {
            return Err(fail(format!(
                "its offset {} is not aligned to {alignment}",
                entry.relative
            )));
        }
        let start = data_start.checked_add(entry.relative);
        let end = start.and_then(|s| s.checked_add(entry.bytes));
        let (Some(offset), Some(end)) = (start, end) else {
            return Err(fail("its offset overflows".into()));
        };
        if end > size {
            let bytes = entry.bytes;
            return Err(fail(format!(
                "its {bytes} bytes end at {end}, the file at {size}; it is truncated or damaged"
            )));
        }
        tensors.push(GgufTensor {
            name: entry.name,
            ggml_type: entry.ggml_type,
            shape: entry.shape,
            offset,
            bytes: entry.bytes as usize,
        });
    }
    refuse_overlap(path, &tensors)?;
    Ok(tensors)
}

fn refuse_overlap(path: &Path, tensors: &[GgufTensor]) -> Result<(), FormatError> {
    let mut order: Vec<_> = tensors.iter().filter(|t| t.bytes > 0).collect();
    order.sort_by_key(|t| t.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].bytes as u64 > pair[1].offset {
            let reason = format!("its data overlaps that of `{}`", pair[0].name);
            return Err(FormatError::tensor(path, &pair[1].name, reason));
        }
    }
    Ok(())
}
