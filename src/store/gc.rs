//! Size, check and cleaning of the whole store.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::durable::{entries, make_dir, read_at_most, remove_dir};
use super::error::{AtPath, StoreError};
use super::lookup::MAX_RECORD;
use super::{ActionRecord, Lock, ObjectForm, Store};
use crate::digest::Digest;

/// Bytes and files of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheSize {
    /// Committed stages.
    pub records: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of objects.
    pub object_bytes: u64,
    /// Bytes of checkpoints and attempts.
    pub partial_bytes: u64,
    /// Bytes of fetched models.
    pub hub_bytes: u64,
    /// Bytes of journals, quarantined objects and the rest.
    pub other_bytes: u64,
}

/// What in a store asks for attention.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheHealth {
    /// Objects found damaged and set aside.
    pub quarantined: u64,
    /// Interrupted stages whose checkpoints nothing has touched for
    /// [`Store::STALE_DAYS`].
    pub stale_partials: u64,
}

/// What cleaning removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Objects no record refers to.
    pub objects: u64,
    /// Bytes of all that was removed.
    pub bytes: u64,
}

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
    /// Bytes and files of the store.
    pub fn size(&self) -> Result<CacheSize, StoreError> {
        let mut size = CacheSize {
            records: self.record_files()?.len() as u64,
            partial_bytes: tree_bytes(&self.root.join("partial"))?
                + tree_bytes(&self.root.join("attempts"))?,
            hub_bytes: tree_bytes(&self.root.join("hub"))?,
            ..CacheSize::default()
        };
        for (_, path) in self.objects()? {
            size.objects += 1;
            size.object_bytes += file_bytes(&path);
        }
        let all = tree_bytes(&self.root)?;
        size.other_bytes =
            all.saturating_sub(size.object_bytes + size.partial_bytes + size.hub_bytes);
        Ok(size)
    }

    /// Days after which the checkpoints of an interrupted stage count as left.
    pub const STALE_DAYS: u64 = 7;

    /// What in the store asks for attention. Reads no object.
    pub fn health(&self) -> Result<CacheHealth, StoreError> {
        let age = Duration::from_secs(Self::STALE_DAYS * 24 * 60 * 60);
        let stale = |path: &&PathBuf| {
            let touched = newest(path);
            touched.is_some_and(|time| time.elapsed().is_ok_and(|past| past > age))
        };
        let partials = entries(&self.root.join("partial"))?;
        Ok(CacheHealth {
            quarantined: entries(&self.root.join("quarantine"))?.len() as u64,
            stale_partials: partials.iter().filter(stale).count() as u64,
        })
    }

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

    /// Removes objects no record refers to, checkpoints, attempts, views and
    /// quarantined objects. Refuses while a run uses the store.
    pub fn gc(&self, dry_run: bool) -> Result<Collected, StoreError> {
        if !self.root.join("locks").exists() {
            return Ok(Collected::default());
        }
        if !self.is_cache() {
            return Err(StoreError::NoCache(self.root.clone()));
        }
        let Ok(_lock) = Lock::try_exclusive(&self.cache_lock())? else {
            return Err(StoreError::InUse(self.root.clone()));
        };
        let mut collected = Collected::default();
        let used = self.used_objects()?;
        for (digest, path) in self.objects()? {
            if !used.contains(&digest) {
                collected.objects += 1;
                collected.bytes += file_bytes(&path);
                if !dry_run {
                    fs::remove_file(&path).at("remove", &path)?;
                }
            }
        }
        for name in ["partial", "attempts", "views", "quarantine", "rows"] {
            let dir = self.root.join(name);
            collected.bytes += tree_bytes(&dir)?;
            if !dry_run {
                remove_dir(&dir)?;
                make_dir(&dir)?;
            }
        }
        collected.bytes += self.remove_leftovers(dry_run)?;
        if !dry_run {
            self.remove_locks()?;
        }
        Ok(collected)
    }

    fn used_objects(&self) -> Result<HashSet<Digest>, StoreError> {
        let mut used = HashSet::new();
        for path in self.record_files()? {
            let bytes = read_at_most(&path, MAX_RECORD).at("read", &path)?;
            let Some(record) = ActionRecord::parse(&bytes) else {
                continue;
            };
            for output in record.outputs.values() {
                used.insert(output.digest);
                if output.form == ObjectForm::Directory
                    && let Ok(manifest) = self.manifest(&output.digest)
                {
                    used.extend(manifest.entries().iter().map(|entry| entry.digest));
                }
            }
        }
        Ok(used)
    }

    /// Every object's digest and path; files of other names are left alone.
    fn objects(&self) -> Result<Vec<(Digest, std::path::PathBuf)>, StoreError> {
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

    fn remove_locks(&self) -> Result<(), StoreError> {
        for path in entries(&self.root.join("locks"))? {
            if path != self.cache_lock() {
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }
}

fn file_bytes(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.len())
}

/// When a path, or anything in it, was last changed.
fn newest(path: &Path) -> Option<SystemTime> {
    let own = fs::symlink_metadata(path).ok()?;
    let inner = match own.is_dir() {
        true => entries(path)
            .ok()?
            .iter()
            .filter_map(|path| newest(path))
            .max(),
        false => None,
    };
    own.modified().ok().max(inner)
}

/// Bytes of the plain files under a path.
fn tree_bytes(path: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for entry in entries(path)? {
        let Ok(metadata) = fs::symlink_metadata(&entry) else {
            continue;
        };
        if metadata.is_dir() {
            bytes += tree_bytes(&entry)?;
        } else if metadata.is_file() {
            bytes += metadata.len();
        }
    }
    Ok(bytes)
}
