//! Directories of stages under way.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::durable::{entries, make_dir, remove_dir, unique_name};
use super::error::{AtPath, StoreError};
use super::{Lock, Store};
use crate::plan::StageKey;

/// The directories in which one run's stages write their outputs. A lock tells
/// the living from the dead; what a dead run left is removed by the next.
#[derive(Debug)]
pub struct Attempts {
    dir: PathBuf,
    _lock: Lock,
}

impl Attempts {
    /// A new directory for an attempt at a stage, removed when the attempt is
    /// over, however it ends: a failed stage's output must not fill the disk
    /// for the others.
    pub fn create(&self, key: &StageKey) -> Result<Attempt, StoreError> {
        let dir = self.dir.join(unique_name(&key.0.short()));
        let attempt = Attempt { dir };
        make_dir(&attempt.dir.join("out"))?;
        Ok(attempt)
    }
}

/// The directory of one attempt at a stage; goes away with this.
#[derive(Debug)]
pub struct Attempt {
    dir: PathBuf,
}

impl Attempt {
    /// The directory; `out` in it takes the outputs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = remove_dir(&self.dir);
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        let _ = remove_dir(&self.dir);
    }
}

impl Store {
    /// The attempts of a run; removes what dead runs left behind.
    pub fn attempts(&self, run: &str) -> Result<Attempts, StoreError> {
        let gate = self.root.join("locks").join("attempts.lock");
        let _gate = Lock::exclusive(&gate, &AtomicBool::new(false), &|_| {})?;
        self.remove_dead_attempts()?;
        let dir = self.root.join("attempts").join(run);
        make_dir(&dir)?;
        let lock = match Lock::try_exclusive(&dir.join("lock"))? {
            Ok(lock) => lock,
            Err(_) => return Err(StoreError::InUse(dir)),
        };
        Ok(Attempts { dir, _lock: lock })
    }

    /// The directory that keeps a stage's checkpoints. Every attempt gets it
    /// under a new number, so that a writer left over from an earlier attempt
    /// finds its path gone. The stage's lock must be held.
    pub fn partial(&self, key: &StageKey) -> Result<PathBuf, StoreError> {
        let dir = self.partial_path(key);
        make_dir(&dir)?;
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
        let mut attempts: Vec<_> = entries(&dir)?
            .into_iter()
            .filter_map(|path| Some((number(&path)?, path)))
            .collect();
        attempts.sort();
        let Some((last, path)) = attempts.pop() else {
            let first = dir.join("1");
            make_dir(&first)?;
            return Ok(first);
        };
        for (_, stale) in attempts {
            remove_dir(&stale)?;
        }
        let next = dir.join((last + 1).to_string());
        fs::rename(&path, &next).at("rename", &path)?;
        Ok(next)
    }

    /// Throws a stage's checkpoints away, once its result is committed.
    pub fn remove_partial(&self, key: &StageKey) -> Result<(), StoreError> {
        remove_dir(&self.partial_path(key))
    }

    fn partial_path(&self, key: &StageKey) -> PathBuf {
        self.root.join("partial").join(key.to_string())
    }

    pub(super) fn remove_dead_attempts(&self) -> Result<(), StoreError> {
        for dir in entries(&self.root.join("attempts"))? {
            if is_dead(&dir) {
                remove_dir(&dir)?;
            }
        }
        Ok(())
    }
}

/// True if no living process holds the directory's lock.
fn is_dead(dir: &Path) -> bool {
    matches!(Lock::try_exclusive(&dir.join("lock")), Ok(Ok(_)))
}
