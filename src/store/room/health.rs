//! What in a store asks for attention.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::store::durable::entries;
use crate::store::{Store, StoreError};

/// What in a store asks for attention.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheHealth {
    /// Objects found damaged and set aside.
    pub quarantined: u64,
    /// Interrupted stages whose checkpoints nothing has touched for
    /// [`Store::STALE_DAYS`].
    pub stale_partials: u64,
}

impl Store {
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
