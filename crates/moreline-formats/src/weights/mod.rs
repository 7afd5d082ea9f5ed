//! The tensors of a model under their Hugging Face names, whatever file holds them.

mod gguf_names;
mod hf_index;

pub use hf_index::weight_files;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::FormatError;
use crate::gguf::Gguf;
use crate::safetensors::SafetensorsFile;
use crate::tensor::{HostTensor, TensorInfo};

use gguf_names::GgufWeights;

/// An opened set of weights. Opening reads and checks headers only; [`WeightStore::read`] reads
/// one tensor's bytes.
#[derive(Debug)]
pub struct WeightStore {
    path: PathBuf,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The files, and for each tensor of the store the index of the file that holds it.
    Safetensors {
        files: Vec<SafetensorsFile>,
        file_of: Vec<usize>,
    },
    Gguf(Box<GgufWeights>),
}

/// Whether the path names a `.gguf` file.
pub fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
        && !path.is_dir()
}

impl WeightStore {
    /// Opens a Hugging Face directory (`model.safetensors`, or `model.safetensors.index.json` and
    /// its shards), one `.safetensors` file, or one `.gguf` file (architectures `llama` and
    /// `qwen2`; names mapped to Hugging Face's, query and key rows put back in its order).
    ///
    /// # Errors
    /// A missing shard, a tensor listed but absent, a shard name that leaves the directory, and
    /// every contradiction in a header.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        if is_gguf(path) {
            let weights = GgufWeights::new(Gguf::open(path)?)?;
            let tensors = weights.infos();
            return Ok(Self::build(path, tensors, Source::Gguf(Box::new(weights))));
        }
        let (files, tensors, file_of) = if path.is_dir() {
            hf_index::open_directory(path)?
        } else {
            let file = SafetensorsFile::open(path)?;
            let tensors: Vec<_> = file.tensors().cloned().collect();
            let file_of = vec![0; tensors.len()];
            (vec![file], tensors, file_of)
        };
        Ok(Self::build(
            path,
            tensors,
            Source::Safetensors { files, file_of },
        ))
    }

    fn build(path: &Path, tensors: Vec<TensorInfo>, source: Source) -> Self {
        let by_name = tensors
            .iter()
            .enumerate()
            .map(|(i, t)| (t.name.clone(), i))
            .collect();
        Self {
            path: path.to_owned(),
            tensors,
            by_name,
            source,
        }
    }

    /// Every tensor, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// One tensor's entry, by its Hugging Face name.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&i| &self.tensors[i])
    }

    /// Whether there is a tensor of this Hugging Face name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The path given to [`WeightStore::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads one tensor by its Hugging Face name, in the type it is stored as (quantised and
    /// 64-bit floats become `f32`).
    ///
    /// # Errors
    /// [`FormatError::MissingTensor`], a type that cannot be read, or the system's errors.
    pub fn read(&self, name: &str) -> Result<HostTensor, FormatError> {
        let &index = self
            .by_name
            .get(name)
            .ok_or_else(|| FormatError::MissingTensor {
                path: self.path.clone(),
                tensor: name.to_owned(),
            })?;
        match &self.source {
            Source::Safetensors { files, file_of } => files[file_of[index]].read(name),
            Source::Gguf(weights) => weights.read(index),
        }
    }

    /// [`WeightStore::read`], after checking the shape in the header.
    ///
    /// # Errors
    /// [`FormatError::Shape`] with both shapes, and those of `read`.
    pub fn read_shaped(&self, name: &str, expected: &[usize]) -> Result<HostTensor, FormatError> {
        self.check_shape(name, expected)?;
        self.read(name)
    }

    /// Compares a tensor's shape with that which a configuration tells, before
    /// memory of that size is taken. An absent tensor is left to [`Self::read`].
    ///
    /// # Errors
    /// [`FormatError::Shape`] with both shapes.
    pub fn check_shape(&self, name: &str, expected: &[usize]) -> Result<(), FormatError> {
        if let Some(info) = self.get(name)
            && info.shape != expected
        {
            return Err(FormatError::Shape {
                path: self.path.clone(),
                tensor: name.to_owned(),
                found: info.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        Ok(())
    }
}
