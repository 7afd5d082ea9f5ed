//! The JSON header of a safetensors file: parsed without losing duplicates, checked against the
//! file's size.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

use crate::error::FormatError;
use crate::tensor::{Dtype, TensorInfo};

/// The published implementation refuses larger headers too.
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A checked entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) info: TensorInfo,
    /// First byte, from the beginning of the file.
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The header's members in order; duplicates are kept so that they can be refused.
struct RawHeader {
    metadata: BTreeMap<String, String>,
    entries: Vec<(String, RawEntry)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensor entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut metadata = None;
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if metadata.replace(map.next_value()?).is_some() {
                    return Err(A::Error::custom("`__metadata__` occurs twice"));
                }
            } else {
                entries.push((name, map.next_value()?));
            }
        }
        Ok(RawHeader {
            metadata: metadata.unwrap_or_default(),
            entries,
        })
    }
}

/// Parses and checks a header. `data_start` is the position after it, `size` the file's.
pub(super) fn parse(
    path: &Path,
    json: &[u8],
    data_start: u64,
    size: u64,
) -> Result<(BTreeMap<String, String>, Vec<Entry>), FormatError> {
    let raw: RawHeader = serde_json::from_slice(json)
        .map_err(|e| FormatError::malformed(path, format!("its header is not valid: {e}")))?;
    let data_bytes = size - data_start;
    let mut entries = Vec::with_capacity(raw.entries.len());
    for (name, entry) in raw.entries {
        entries.push(check_entry(path, name, entry, data_start, data_bytes)?);
    }
    refuse_duplicates(path, &entries)?;
    refuse_gaps(path, &entries, data_start, size)?;
    Ok((raw.metadata, entries))
}

fn check_entry(
    path: &Path,
    name: String,
    entry: RawEntry,
    data_start: u64,
    data_bytes: u64,
) -> Result<Entry, FormatError> {
    let fail = |reason: String| FormatError::tensor(path, &name, reason);
    let (begin, end) = entry.data_offsets;
    if begin > end || end > data_bytes {
        return Err(fail(format!(
            "its bytes {begin}..{end} are not within the {data_bytes} bytes of data; the file is \
             truncated or damaged"
        )));
    }
    let (dtype, bits) = dtype(&entry.dtype)
        .ok_or_else(|| fail(format!("its type `{}` is unknown", entry.dtype)))?;
    let needed = entry
        .shape
        .iter()
        .try_fold(bits, |n, &d| n.checked_mul(d as u64))
        .ok_or_else(|| fail(format!("its shape {:?} overflows", entry.shape)))?;
    if needed % 8 != 0 || needed / 8 != end - begin {
        return Err(fail(format!(
            "shape {:?} of {} does not fill the {} bytes listed",
            entry.shape,
            entry.dtype,
            end - begin
        )));
    }
    let info = TensorInfo {
        name,
        dtype,
        shape: entry.shape,
    };
    Ok(Entry {
        info,
        offset: data_start + begin,
        bytes: (end - begin) as usize,
    })
}

/// The type of that name, and its width in bits.
fn dtype(name: &str) -> Option<(Dtype, u64)> {
    Some(match name {
        "F64" => (Dtype::F64, 64),
        "F32" => (Dtype::F32, 32),
        "BF16" => (Dtype::Bf16, 16),
        "F16" => (Dtype::F16, 16),
        "I64" => (Dtype::I64, 64),
        "U64" => (Dtype::Other("U64"), 64),
        "C64" => (Dtype::Other("C64"), 64),
        "I32" => (Dtype::I32, 32),
        "U32" => (Dtype::Other("U32"), 32),
        "I16" => (Dtype::Other("I16"), 16),
        "U16" => (Dtype::Other("U16"), 16),
        "I8" => (Dtype::Other("I8"), 8),
        "U8" => (Dtype::Other("U8"), 8),
        "BOOL" => (Dtype::Other("BOOL"), 8),
        "F8_E4M3" => (Dtype::Other("F8_E4M3"), 8),
        "F8_E5M2" => (Dtype::Other("F8_E5M2"), 8),
        "F8_E8M0" => (Dtype::Other("F8_E8M0"), 8),
        "F4" => (Dtype::Other("F4"), 4),
        _ => return None,
    })
}

fn refuse_duplicates(path: &Path, entries: &[Entry]) -> Result<(), FormatError> {
    let mut names: Vec<_> = entries.iter().map(|e| e.info.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(FormatError::tensor(path, pair[0], "it is listed twice")),
        None => Ok(()),
    }
}

/// The format asks that tensors cover the data exactly: no overlap, no hole, no rest.
fn refuse_gaps(
    path: &Path,
    entries: &[Entry],
    data_start: u64,
    size: u64,
) -> Result<(), FormatError> {
    let mut order: Vec<_> = entries.iter().collect();
    order.sort_by_key(|e| (e.offset, e.bytes));
    let mut expected = data_start;
    for entry in order {
        if entry.offset != expected {
            let kind = if entry.offset < expected {
                "overlaps the tensor"
            } else {
                "leaves a hole"
            };
            let at = entry.offset - data_start;
            let reason = format!("its data at {at} {kind} before it");
            return Err(FormatError::tensor(path, &entry.info.name, reason));
        }
        expected += entry.bytes as u64;
    }
    if expected != size {
        let reason = format!("{} bytes follow the last tensor", size - expected);
        return Err(FormatError::malformed(path, reason));
    }
    Ok(())
}
