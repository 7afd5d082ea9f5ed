//! The error of this crate.

use std::path::{Path, PathBuf};

use moreline_formats::FormatError;

/// Why text could not be turned into ids, or messages into text. Messages complete "failed to ...".
#[derive(Debug, thiserror::Error)]
pub enum TextError {
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
    /// The model file behind the tokenizer is at fault.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The tokenizer's files contradict themselves or ask for something unknown.
    #[error("load the tokenizer of {}: {reason}", path.display())]
    Tokenizer {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// The tokenizer makes ids that the model's embedding does not have.
    #[error(
        "fit the tokenizer of {} to the model: its largest token id is {largest} (`{token}`), but \
         the model's vocabulary has {vocab_size} entries; use the tokenizer that came with the model",
        path.display()
    )]
    Vocabulary {
        /// The tokenizer's file or directory.
        path: PathBuf,
        /// The largest id.
        largest: u32,
        /// Its text.
        token: String,
        /// Rows of the model's embedding.
        vocab_size: usize,
    },
    /// A text could not be encoded, or ids not decoded.
    #[error("{action} with the tokenizer of {}: {reason}", path.display())]
    Coding {
        /// `encode a text` or `decode ids`.
        action: &'static str,
        /// The tokenizer's file or directory.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The chat form was asked of a model without a template.
    #[error(
        "render messages: the model at {} has no chat template; use the form `human-assistant`, \
         `hash-human` or `raw`",
        path.display()
    )]
    NoTemplate {
        /// The model's file or directory.
        path: PathBuf,
    },
    /// The chat template failed, or refused the messages.
    #[error("render messages with the chat template: {reason}")]
    Template {
        /// The template engine's message with its line.
        reason: String,
    },
    /// A text is not a dialogue of a published form.
    #[error("read a dialogue: {reason}")]
    Dialogue {
        /// What is wrong.
        reason: String,
    },
    /// The messages cannot be written in the form asked for.
    #[error("write messages in the form `{form}`: {reason}")]
    Form {
        /// The form's name.
        form: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl TextError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn tokenizer(path: &Path, reason: impl ToString) -> Self {
        Self::Tokenizer {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
