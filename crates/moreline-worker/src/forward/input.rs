//! The token ids that `forward` reads.

use std::path::Path;

use moreline_formats::safetensors::SafetensorsFile;
use moreline_formats::{Dtype, HostData, ModelConfig};

use crate::error::WorkerError;

/// Rows of token ids, checked against a model.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// Each row's tokens up to its length; never empty.
    pub sequences: Vec<Vec<u32>>,
    /// Columns of `input_ids`, T.
    pub columns: usize,
}

/// Reads `input_ids` `[B, T]` and `lengths` `[B]`, both int64 or int32. What
/// lies beyond a row's length is not looked at.
///
/// # Errors
/// An unreadable file; tensors that are missing or of another type or shape;
/// lengths outside 1 to T or beyond the model's positions; ids without an
/// embedding. Each names the tensor and the row.
pub(super) fn read(path: &Path, config: &ModelConfig) -> Result<Rows, WorkerError> {
    let file = SafetensorsFile::open(path)?;
    let (shape, ids) = integers(&file, path, "input_ids")?;
    let &[rows, columns] = shape.as_slice() else {
        return Err(wrong_shape(path, "input_ids", &shape, "[rows, columns]"));
    };
    if rows == 0 || columns == 0 {
        return Err(wrong_shape(
            path,
            "input_ids",
            &shape,
            "[rows, columns], at least one of each",
        ));
    }
    let (shape, lengths) = integers(&file, path, "lengths")?;
    if shape != [rows] {
        let wanted = format!("[{rows}], one for each row of `input_ids`");
        return Err(wrong_shape(path, "lengths", &shape, &wanted));
    }
    let mut sequences = Vec::with_capacity(rows);
    for (row, (ids, &length)) in ids.chunks_exact(columns).zip(&lengths).enumerate() {
        let length = check_length(path, row, length, columns, config)?;
        sequences.push(check_ids(path, row, &ids[..length], config)?);
    }
    Ok(Rows { sequences, columns })
}

/// A tensor of whole numbers, with its shape.
fn integers(
    file: &SafetensorsFile,
    path: &Path,
    name: &str,
) -> Result<(Vec<usize>, Vec<i64>), WorkerError> {
    let info = file.get(name).ok_or_else(|| {
        let found: Vec<&str> = file.tensors().map(|info| info.name.as_str()).collect();
        WorkerError::input(
            format!(
                "read `{name}` of {}: there is no such tensor",
                path.display()
            ),
            format!(
                "the file needs `input_ids` [rows, columns] and `lengths` [rows]; it holds: {}",
                found.join(", ")
            ),
        )
    })?;
    if !matches!(info.dtype, Dtype::I64 | Dtype::I32) {
        return Err(WorkerError::input(
            format!(
                "read `{name}` of {}: its type is {}",
                path.display(),
                info.dtype.name()
            ),
            "store it as int64 or int32",
        ));
    }
    let tensor = file.read(name)?;
    match tensor.data {
        HostData::I64(values) => Ok((tensor.shape, values)),
        _ => unreachable!("int64 and int32 are read as int64"),
    }
}

fn wrong_shape(path: &Path, name: &str, found: &[usize], wanted: &str) -> WorkerError {
    WorkerError::input(
        format!(
            "read `{name}` of {}: its shape is {found:?}",
            path.display()
        ),
        format!("its shape must be {wanted}"),
    )
}

fn check_length(
    path: &Path,
    row: usize,
    length: i64,
    columns: usize,
    config: &ModelConfig,
) -> Result<usize, WorkerError> {
    let failed = |reason: String, hint: String| {
        let place = format!("read `lengths` of {}, row {row} (from 0)", path.display());
        WorkerError::input(format!("{place}: {reason}"), hint)
    };
    let most = config.max_positions;
    match usize::try_from(length) {
        Ok(length) if (1..=columns.min(most)).contains(&length) => Ok(length),
        Ok(length) if (1..=columns).contains(&length) => Err(failed(
            format!("the length is {length}, and the model has {most} positions"),
            format!("cut the row to {most} tokens"),
        )),
        _ => Err(failed(
            format!("the length is {length}, and `input_ids` has {columns} columns"),
            format!("give the row a length from 1 to {columns}"),
        )),
    }
}

fn check_ids(
    path: &Path,
    row: usize,
    ids: &[i64],
    config: &ModelConfig,
) -> Result<Vec<u32>, WorkerError> {
    let size = config.vocab_size;
    let check = |(column, &id): (usize, &i64)| {
        u32::try_from(id)
            .ok()
            .filter(|&id| (id as usize) < size)
            .ok_or_else(|| {
                WorkerError::input(
                    format!(
                        "read `input_ids` of {}, row {row}, column {column} (from 0): the id is \
                         {id}, and the model has {size} embeddings",
                        path.display()
                    ),
                    "use the tokenizer that came with the model",
                )
            })
    };
    ids.iter().enumerate().map(check).collect()
}
