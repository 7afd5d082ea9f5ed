mod elements;
mod files;
mod forms;
mod messages;
mod published;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A directory with one file of `content`.
fn file_of(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn all() -> RowRange {
    RowRange::default()
}

/// The message and the hint as a user would see them, the directory left out.
fn shown(error: &RowError, path: &Path) -> String {
    let dir = path.parent().unwrap().display().to_string();
    let message = error.to_string().replace(&format!("{dir}/"), "");
    match error.hint() {
        Some(hint) => format!("{message}\n  help: {hint}"),
        None => message,
    }
}
