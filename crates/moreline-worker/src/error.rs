//! What can go wrong in a worker.

use std::path::Path;

use moreline_formats::FormatError;
use moreline_text::TextError;

/// An error of a stage: its message completes `failed to ...`.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A model file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A tokenizer, a template or a text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Rows of a data set.
    #[error(transparent)]
    Rows(#[from] moreline_formats::rows::RowError),
    /// The system.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done: `read`, `write`, ...
        action: &'static str,
        /// To what.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Input that cannot be worked with.
    #[error("{message}")]
    Input {
        /// What failed and why.
        message: String,
        /// The way out.
        hint: String,
    },
    /// libtorch threw.
    #[error(transparent)]
    Libtorch(#[from] torch_ext_sys::Error),
    /// libtorch threw, through tch.
    #[error("{0}")]
    Tch(#[from] tch::TchError),
    /// Training cannot go on.
    #[error("{message}")]
    Diverged {
        /// What was seen, and at which step.
        message: String,
    },
}

impl WorkerError {
    /// An [`Self::Input`].
    pub fn input(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Input {
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// An [`Self::Io`].
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.display().to_string(),
            source,
        }
    }

    /// This error, naming the optimiser step if it is about one.
    pub fn at_step(self, step: u64) -> Self {
        match self {
            Self::Diverged { message } => Self::Diverged {
                message: format!("take optimiser step {step}: {message}"),
            },
            other => other,
        }
    }

    /// What to do about it, where there is more to say than the message does.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Input { hint, .. } => Some(hint.clone()),
            Self::Rows(rows) => rows.hint().map(str::to_owned),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Some(
                "free some space; finished stages are kept, and the same command goes on".into(),
            ),
            Self::Format(
                FormatError::MissingTensor { .. }
                | FormatError::Shape { .. }
                | FormatError::Tensor { .. },
            ) => Some(
                "the files are incomplete or of another model: fetch or export them again".into(),
            ),
            Self::Diverged { .. } => Some(
                "lower `lr`, or look for bad rows in the data; if it is one of the first steps, \
                 the model's own weights may hold NaN"
                    .into(),
            ),
            _ => None,
        }
    }
}
