//! Which key each stage of an experiment had last: only for saying why it
//! runs again, never for deciding whether.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Store;
use super::durable::{make_dir, read_at_most, replace};
use super::error::StoreError;
use crate::digest::Digest;
use crate::plan::StageKey;

/// Largest file of keys read, in bytes.
const MAX_LATEST: u64 = 64 << 20;

impl Store {
    /// The keys an experiment's stages had when they were last found or made.
    pub fn latest_keys(&self, experiment: &Path) -> BTreeMap<String, StageKey> {
        read_at_most(&self.latest_path(experiment), MAX_LATEST)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Remembers the keys of an experiment's stages; writes only changes.
    pub fn remember_keys(
        &self,
        experiment: &Path,
        keys: &BTreeMap<String, StageKey>,
    ) -> Result<(), StoreError> {
        let mut all = self.latest_keys(experiment);
        let before = all.clone();
        all.extend(keys.iter().map(|(name, key)| (name.clone(), *key)));
        if all == before {
            return Ok(());
        }
        let path = self.latest_path(experiment);
        make_dir(path.parent().unwrap_or(self.root()))?;
        let bytes = serde_json::to_vec(&all).unwrap_or_default();
        replace(&path, &bytes, false)
    }

    fn latest_path(&self, experiment: &Path) -> PathBuf {
        let name = Digest::of(experiment.as_os_str().as_encoded_bytes());
        self.root.join("latest").join(format!("{name}.json"))
    }
}
