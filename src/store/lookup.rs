//! Finding what is committed.

use std::io;
use std::path::PathBuf;

use super::durable::{entries, read_at_most};
use super::error::{AtPath, StoreError};
use super::{ActionRecord, Store};
use crate::digest::Digest;
use crate::plan::StageKey;

/// Largest record taken as one, in bytes.
pub(super) const MAX_RECORD: u64 = 64 << 20;

/// What the store has for a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// The record, and every file of its outputs.
    Committed(Box<ActionRecord>),
    /// Nothing.
    Absent,
    /// A record, but a file of this output is gone or damaged.
    Lost {
        /// The output.
        output: String,
        /// The file's, or the manifest's, digest.
        digest: Digest,
        /// True if it is gone, false if its bytes changed.
        missing: bool,
    },
}

impl Store {
    /// What the store has for a key. Reads the bytes of objects only if they
    /// look different from when they were last read.
    pub fn lookup(&self, key: &StageKey) -> Result<Lookup, StoreError> {
        let Some(record) = self.record(key)? else {
            return Ok(Lookup::Absent);
        };
        for (name, output) in &record.outputs {
            match self.check(output) {
                Ok(()) => {}
                Err(StoreError::Damaged { digest, missing }) => {
                    let output = name.clone();
                    return Ok(Lookup::Lost {
                        output,
                        digest,
                        missing,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Lookup::Committed(Box::new(record)))
    }

    /// The files of records; not what a killed process left half written.
    pub(super) fn record_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = entries(&self.root.join("actions"))?;
        files.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let key = name.and_then(|name| name.strip_suffix(".json"));
            key.is_some_and(|key| key.parse::<Digest>().is_ok())
        });
        Ok(files)
    }

    /// Every sound record, in the order of their keys.
    pub fn records(&self) -> Result<Vec<ActionRecord>, StoreError> {
        let mut records = Vec::new();
        for path in self.record_files()? {
            match read_at_most(&path, MAX_RECORD) {
                Ok(bytes) => records.extend(ActionRecord::parse(&bytes)),
                // Removed while the directory was read, or no file at all.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error).at("read", &path),
            }
        }
        Ok(records)
    }

    /// The record of a key, whether or not its outputs are still there. A
    /// record that is damaged or of another format counts as absent.
    pub fn record(&self, key: &StageKey) -> Result<Option<ActionRecord>, StoreError> {
        let path = self.record_path(key);
        match read_at_most(&path, MAX_RECORD) {
            Ok(bytes) => {
                let record = ActionRecord::parse(&bytes);
                Ok(record.filter(|record| record.key == *key))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error).at("read", &path),
        }
    }
}

/// True if there is no such file, or nothing that could hold it.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
