//! The error of every reader and writer in this crate.

use std::path::{Path, PathBuf};

/// Why a model file could not be read or written. Messages complete "failed to ...".
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The operating system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The path holds no model this crate can read.
    #[error("find a model at {}: {reason}", path.display())]
    NotAModel {
        /// The path given.
        path: PathBuf,
        /// What is missing, and the way out.
        reason: String,
    },
    /// The file contradicts its format or itself.
    #[error("read {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// One tensor's entry contradicts the format, the file or the other entries.
    #[error("read tensor `{tensor}` of {}: {reason}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor, as the file names it.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that the model needs is not there.
    #[error("find tensor `{tensor}` in {}", path.display())]
    MissingTensor {
        /// The file or directory.
        path: PathBuf,
        /// The tensor's Hugging Face name.
        tensor: String,
    },
    /// A tensor has another shape than the model's configuration says.
    #[error(
        "read tensor `{tensor}` of {}: its shape is {found:?}, the configuration asks for {expected:?}",
        path.display()
    )]
    Shape {
        /// The file or directory.
        path: PathBuf,
        /// The tensor's Hugging Face name.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape the configuration asks for.
        expected: Vec<usize>,
    },
    /// The configuration asks for something that moreline does not do.
    #[error("use the model at {}: `{key}` = {value} is not supported: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key in `config.json` or the GGUF metadata.
        key: String,
        /// Its value, as text.
        value: String,
        /// Why, or what is supported.
        reason: String,
    },
    /// A key of the configuration is missing or has the wrong type or range.
    #[error("read key `{key}` of {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl FormatError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn tensor(path: &Path, tensor: &str, reason: impl Into<String>) -> Self {
        Self::Tensor {
            path: path.to_owned(),
            tensor: tensor.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn key(path: &Path, key: &str, reason: impl Into<String>) -> Self {
        Self::Key {
            path: path.to_owned(),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(
        path: &Path,
        key: &str,
        value: impl ToString,
        reason: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            key: key.to_owned(),
            value: value.to_string(),
            reason: reason.into(),
        }
    }
}
