//! Writing rows.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::RecordsError;

/// Writes rows as JSON Lines to a new file `name` in `dir`, synced to disk.
pub(crate) fn write_rows<T: Serialize>(
    dir: &Path,
    name: &str,
    rows: impl IntoIterator<Item = T>,
) -> Result<(), RecordsError> {
    let path = dir.join(name);
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create_new(&path)?);
        for row in rows {
            serde_json::to_writer(&mut file, &row)?;
            file.write_all(b"\n")?;
        }
        file.into_inner()?.sync_all()
    };
    write().map_err(|source| RecordsError::Write { path, source })
}
