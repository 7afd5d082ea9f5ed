//! What can go wrong while a report is written.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A failure to write a report. Missing results are no failure.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file or directory could not be written.
    #[error("failed to write {}: {cause}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The results could not be turned into JSON.
    #[error("failed to write the results as JSON: {cause}")]
    Json {
        /// What the serialiser said.
        cause: serde_json::Error,
    },
}

impl ReportError {
    pub(super) fn write(path: &Path, cause: std::io::Error) -> Self {
        Self::Write {
            path: path.to_path_buf(),
            cause,
        }
    }
}
