//! When each result was last used: what the file system says of reading is not
//! to be relied on.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;

use crate::plan::StageKey;
use crate::store::durable::{read_at_most, replace};
use crate::store::error::StoreError;
use crate::store::{Lock, Store, seconds_now};

/// Largest file of uses read, in bytes.
const MAX_USES: u64 = 256 << 20;
/// Seconds within which a second use is not written down: a run that computes
/// nothing should write nothing.
const GRAIN: u64 = 3600;

/// Seconds since 1970 by key.
type Uses = BTreeMap<StageKey, u64>;

impl Store {
    /// Notes that results were used now.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn note_uses(&self, keys: impl IntoIterator<Item = StageKey>) -> Result<(), StoreError> {
        let now = seconds_now();
        let known = self.uses();
        let is_old = |key: &StageKey| known.get(key).is_none_or(|used| used + GRAIN < now);
        let keys: Vec<StageKey> = keys.into_iter().filter(is_old).collect();
        if keys.is_empty() {
            return Ok(());
        }
        self.change_uses(|uses| uses.extend(keys.iter().map(|key| (*key, now))))
    }

    /// Forgets results that are gone.
    pub(super) fn forget_uses(&self, keys: &HashSet<StageKey>) -> Result<(), StoreError> {
        self.change_uses(|uses| uses.retain(|key, _| !keys.contains(key)))
    }

    /// When results were last used; nothing for those of which it is not known.
    pub(super) fn uses(&self) -> Uses {
        let bytes = read_at_most(&self.root.join("uses.json"), MAX_USES);
        let parsed = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        parsed.unwrap_or_default()
    }

    fn change_uses(&self, change: impl FnOnce(&mut Uses)) -> Result<(), StoreError> {
        let gate = self.root.join("locks").join("uses.lock");
        let _gate = Lock::exclusive(&gate, &AtomicBool::new(false), &|_| {})?;
        let mut uses = self.uses();
        change(&mut uses);
        let bytes = serde_json::to_vec(&uses).unwrap_or_default();
        replace(&self.root.join("uses.json"), &bytes, false)
    }
}
