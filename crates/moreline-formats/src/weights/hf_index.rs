//! The files of a Hugging Face directory.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::error::FormatError;
use crate::safetensors::SafetensorsFile;
use crate::tensor::TensorInfo;

/// The files, every tensor, and for each tensor the index of its file.
type Opened = (Vec<SafetensorsFile>, Vec<TensorInfo>, Vec<usize>);

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The weight files of a directory: the single file, or the shards its index names.
///
/// # Errors
/// Neither is there, or the index is malformed or names files outside the directory.
pub fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let single = dir.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = dir.join("model.safetensors.index.json");
    if index.is_file() {
        let mut names: Vec<_> = read_index(&index)?.weight_map.into_values().collect();
        names.sort_unstable();
        names.dedup();
        return Ok(names.into_iter().map(|name| dir.join(name)).collect());
    }
    let reason = if dir.join("pytorch_model.bin").is_file() {
        "it has pytorch_model.bin only; save the model with safetensors first"
    } else {
        "it has neither model.safetensors nor model.safetensors.index.json"
    };
    Err(FormatError::NotAModel {
        path: dir.to_owned(),
        reason: reason.into(),
    })
}

pub(super) fn open_directory(dir: &Path) -> Result<Opened, FormatError> {
    let paths = weight_files(dir)?;
    let single = dir.join("model.safetensors");
    if paths == [single.clone()] && single.is_file() {
        let file = SafetensorsFile::open(&single)?;
        let tensors: Vec<_> = file.tensors().cloned().collect();
        let file_of = vec![0; tensors.len()];
        return Ok((vec![file], tensors, file_of));
    }
    let index = dir.join("model.safetensors.index.json");
    let files = paths
        .iter()
        .map(|path| open_shard(&index, path))
        .collect::<Result<Vec<_>, FormatError>>()?;
    let (mut tensors, mut file_of) = (Vec::new(), Vec::new());
    for (name, shard) in read_index(&index)?.weight_map {
        let path = dir.join(&shard);
        let at = paths
            .iter()
            .position(|p| *p == path)
            .expect("the list comes from this index");
        let info = files[at].get(&name).ok_or_else(|| {
            let reason = format!("the index places it in {shard}, which does not hold it");
            FormatError::tensor(&index, &name, reason)
        })?;
        tensors.push(info.clone());
        file_of.push(at);
    }
    Ok((files, tensors, file_of))
}

fn open_shard(index: &Path, path: &Path) -> Result<SafetensorsFile, FormatError> {
    if path.is_file() {
        return SafetensorsFile::open(path);
    }
    let reason = format!(
        "the shard {} is missing; fetch the model again",
        path.display()
    );
    Err(FormatError::malformed(index, reason))
}

fn read_index(path: &Path) -> Result<Index, FormatError> {
    let text = std::fs::read(path).map_err(|e| FormatError::io("read", path, e))?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|e| FormatError::malformed(path, format!("it is not a valid index: {e}")))?;
    if index.weight_map.is_empty() {
        return Err(FormatError::malformed(path, "its `weight_map` is empty"));
    }
    for (tensor, shard) in &index.weight_map {
        let mut parts = Path::new(shard).components();
        let plain = matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        );
        if !plain || !shard.ends_with(".safetensors") {
            let reason = format!("its shard `{shard}` is not a .safetensors file of the directory");
            return Err(FormatError::tensor(path, tensor, reason));
        }
    }
    Ok(index)
}
