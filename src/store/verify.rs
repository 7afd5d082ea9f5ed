//! Check of the whole store.

use std::fs;

use serde::Serialize;

use super::durable::{entries, make_dir, read_at_most};
use super::error::{AtPath, StoreError};
use super::lookup::MAX_RECORD;
use super::room::file_bytes;
use super::{ActionRecord, Store};
use crate::digest::Digest;

/// What a check of all objects found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Objects read.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Objects whose bytes are not what their names say; set aside, and made
    /// anew by the next run that needs them.
    pub damaged: Vec<Digest>,
    /// Records whose own bytes changed; they count as absent.
    pub damaged_records: Vec<String>,
}

impl Store {
    /// Reads every object and sets aside those that are damaged.
    pub fn verify_all(&self) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        for (digest, path) in self.objects()? {
            verified.objects += 1;
            verified.bytes += file_bytes(&path);
            match self.verify_object(&digest) {
                Ok(()) => {}
                Err(StoreError::Damaged { digest, missing }) => {
                    if !missing {
                        verified.damaged.push(digest);
                        make_dir(&self.root.join("quarantine"))?;
                        self.quarantine(&digest)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        for path in self.record_files()? {
            let bytes = read_at_most(&path, MAX_RECORD).at("read", &path)?;
            if ActionRecord::parse(&bytes).is_none() {
                let name = path.file_name().unwrap_or_default();
                verified.damaged_records.push(name.display().to_string());
            }
        }
        self.save_memo()?;
        Ok(verified)
    }

    /// Every object's digest and path; files of other names are left alone.
    pub(super) fn objects(&self) -> Result<Vec<(Digest, std::path::PathBuf)>, StoreError> {
        let mut objects = Vec::new();
        for dir in entries(&self.root.join("objects"))? {
            if !dir.is_dir() {
                continue;
            }
            for path in entries(&dir)? {
                let parts = (dir.file_name(), path.file_name());
                let (Some(head), Some(tail)) = parts else {
                    continue;
                };
                let name = format!("{}{}", head.display(), tail.display());
                if let Ok(digest) = name.parse() {
                    objects.push((digest, path));
                }
            }
        }
        Ok(objects)
    }

    /// Removes the files of locks, none of which is held while the cache is locked.
    pub(super) fn remove_locks(&self) -> Result<(), StoreError> {
        for path in entries(&self.root.join("locks"))? {
            if path != self.cache_lock() {
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }
}
