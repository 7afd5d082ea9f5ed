//! Writing rows.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::RecordsError;

/// A new file of JSON Lines.
pub(crate) struct RowWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl RowWriter {
    /// Creates the file, which must not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, RecordsError> {
        let file = File::create_new(path).map_err(|source| failed(path, source))?;
        Ok(Self {
            path: path.to_path_buf(),
            file: BufWriter::new(file),
        })
    }

    /// Writes a row that is JSON already.
    pub(crate) fn line(&mut self, row: &[u8]) -> Result<(), RecordsError> {
        let written = self.file.write_all(row);
        written
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|source| failed(&self.path, source))
    }

    /// Writes a row.
    pub(crate) fn row(&mut self, row: &impl Serialize) -> Result<(), RecordsError> {
        let written = serde_json::to_writer(&mut self.file, row).map_err(std::io::Error::from);
        written
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|source| failed(&self.path, source))
    }

    /// Syncs the file to disk.
    pub(crate) fn finish(self) -> Result<(), RecordsError> {
        let file = self.file.into_inner().map_err(std::io::Error::from);
        file.and_then(|file| file.sync_all())
            .map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: std::io::Error) -> RecordsError {
    RecordsError::Write {
        path: path.to_path_buf(),
        source,
    }
}

/// Writes rows as JSON Lines to a new file `name` in `dir`, synced to disk.
pub(crate) fn write_rows<T: Serialize>(
    dir: &Path,
    name: &str,
    rows: impl IntoIterator<Item = T>,
) -> Result<(), RecordsError> {
    let mut writer = RowWriter::create(&dir.join(name))?;
    for row in rows {
        writer.row(&row)?;
    }
    writer.finish()
}
