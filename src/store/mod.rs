//! The content-addressed store: objects, action records, locks.
//!
//! ```text
//! objects/ab/cdef...   files by digest, read-only, never changed; directories as manifests
//! actions/KEY.json     what a stage gave, with metrics and provenance
//! partial/KEY/N/       checkpoints and journals of a stage under way, N counts attempts
//! attempts/RUN/        outputs being written; thrown away if the run dies
//! views/DIGEST/        directories of links into objects, under the files' own names
//! runs/ID/             journal of a run: run.json, events.jsonl, logs/
//! locks/               kernel locks; the files' contents only name the holder
//! quarantine/          objects found damaged
//! hub/                 models fetched from a hub
//! rows/DIGEST          digests of the rows of a file that a run read
//! latest/              keys that stages had last, to say why they run again
//! pins/                keys of results that cleaning leaves alone
//! uses.json            when results were last used
//! checked/             row files found sound, by their bytes and how they are read
//! memo                 digests of files by size, times and inode
//! ```
//!
//! A result becomes visible in one step, when its record is renamed into
//! place; by then its objects are on disk. Reading takes no locks.

mod attempt;
mod clock;
mod commit;
mod cost;
mod durable;
mod error;
mod fetch;
mod latest;
mod layer;
mod leftovers;
mod lock;
mod lookup;
mod manifest;
mod materialise;
mod memo;
mod object;
mod parallel;
mod record;
mod room;
mod rows;
mod verify;
mod view;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use attempt::{Attempt, Attempts};
pub(crate) use clock::{nanos_now, now_rfc3339, rfc3339, seconds_now};
pub use cost::{ApiCost, amount};
pub(crate) use durable::{
    entries, make_dir, read_at_most, read_text_at_most, remove_dir, replace, replace_keeping_mode,
    unique_name,
};
use durable::{make_dir_durably, sync_dir};
pub(crate) use error::AtPath;
pub use error::StoreError;
pub use fetch::{FetchWatch, HUB, Hub, HubModel, ModelLock, PinnedModel};
pub use layer::{LayerSecrets, Layers, Sought};
pub use lock::Lock;
pub(crate) use lock::host;
pub use lookup::Lookup;
pub use manifest::{Manifest, ManifestEntry};
pub(crate) use memo::FileStat;
pub(crate) use parallel::Hashed;
pub use record::{
    ActionRecord, GitState, ObjectForm, Provenance, RECORD_FORMAT, RecordedInput, RecordedOutput,
};

pub use room::{CacheHealth, CacheSize, Collected, Freed, Pin, Policy};
pub(crate) use rows::{RowDigest, RowDigests};
pub use verify::Verified;

use crate::digest::Digest;
use crate::plan::StageKey;
use memo::Memo;

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This directory is a cache of moreline: backup programs may leave it out.\n";

/// A store in a directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    memo: Memo,
    /// Directories of objects that this process has seen onto the disk.
    shelves: Mutex<HashSet<PathBuf>>,
}

impl Store {
    /// The store in a directory, which need not exist. Writes nothing.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let root = std::path::absolute(&root).unwrap_or(root);
        let memo = Memo::open(root.join("memo"));
        Self {
            root,
            memo,
            shelves: Mutex::default(),
        }
    }

    /// Makes the store's directories, for a run that will write.
    pub fn prepare(&self) -> Result<(), StoreError> {
        self.make_root()?;
        for dir in ["objects", "actions"] {
            let dir = self.root.join(dir);
            if !dir.exists() {
                make_dir_durably(&dir)?;
            }
        }
        for dir in [
            "partial",
            "attempts",
            "views",
            "runs",
            "locks",
            "quarantine",
            "checked",
        ] {
            make_dir(&self.root.join(dir))?;
        }
        let tag = self.root.join("CACHEDIR.TAG");
        if !tag.exists() {
            replace(&tag, TAG.as_bytes(), true)?;
        }
        Ok(())
    }

    /// Makes the store's directory. Those above it may not be ours to read, so
    /// that waiting for the disk is tried only.
    fn make_root(&self) -> Result<(), StoreError> {
        let missing: Vec<_> = self
            .root
            .ancestors()
            .take_while(|dir| !dir.exists())
            .collect();
        make_dir(&self.root)?;
        for dir in missing {
            let _ = sync_dir(dir.parent().unwrap_or(dir));
        }
        Ok(())
    }

    /// True if the directory carries the mark of a cache of this program:
    /// nothing is removed from any other.
    fn is_cache(&self) -> bool {
        std::fs::read(self.root.join("CACHEDIR.TAG")).is_ok_and(|tag| tag == TAG.as_bytes())
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The digest of a file outside the store, remembered by its size, times
    /// and inode.
    pub fn digest_file(&self, path: &Path) -> Result<Digest, StoreError> {
        Ok(self.memo.digest(path)?.0)
    }

    /// The same for many files at once, the largest first, each on a core of
    /// its own.
    pub(crate) fn digest_all(&self, paths: Vec<PathBuf>) -> HashMap<PathBuf, Hashed> {
        parallel::hash(paths, &|path| self.memo.digest(path))
    }

    /// True if an input file was found sound: `name` stands for its bytes and
    /// for how they are read.
    pub(crate) fn is_checked(&self, name: &Digest) -> bool {
        self.root.join("checked").join(name.to_string()).exists()
    }

    /// Remembers that an input file was found sound, if the store is prepared
    /// and can be written; forgetting costs a check and nothing else.
    pub(crate) fn remember_check(&self, name: &Digest) {
        let _ = std::fs::write(self.root.join("checked").join(name.to_string()), "");
    }

    /// Writes the digests learnt since the store was opened.
    pub fn save_memo(&self) -> Result<(), StoreError> {
        self.memo.save()
    }

    /// A lock held while a run uses the store; keeps it from being cleaned.
    pub fn use_lock(&self) -> Result<Lock, StoreError> {
        Lock::shared(&self.cache_lock())
    }

    /// The lock of a stage, waited for if another process has it.
    pub fn stage_lock(
        &self,
        key: &StageKey,
        cancel: &std::sync::atomic::AtomicBool,
        waiting: &dyn Fn(Option<crate::event::Holder>),
    ) -> Result<Lock, StoreError> {
        let path = self.root.join("locks").join(format!("{key}.lock"));
        Lock::exclusive(&path, cancel, waiting)
    }

    fn cache_lock(&self) -> PathBuf {
        self.root.join("locks").join("cache.lock")
    }

    fn record_path(&self, key: &StageKey) -> PathBuf {
        self.root.join("actions").join(format!("{key}.json"))
    }
}
