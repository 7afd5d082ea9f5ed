//! Room: what takes it, what may go, and what is kept whatever happens.
//!
//! Cleaning holds the cache's lock alone, so that nothing goes that a run needs. A
//! result goes record first, then the objects that no other record names: killed
//! between, cleaning leaves objects without a record, which the next one removes,
//! and never a record without its objects.

mod health;
mod pins;
mod survey;
mod uses;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde::Serialize;

pub use health::CacheHealth;
pub use pins::Pin;
pub(super) use survey::file_bytes;
use survey::{Holding, Survey};

use super::durable::{make_dir, remove_dir, sync_dir};
use super::error::{AtPath, StoreError};
use super::{Lock, Store, seconds_now};
use crate::digest::Digest;
use crate::plan::StageKey;

/// Seconds in a day.
const DAY: u64 = 86_400;
/// Directories of which nothing is kept.
const SPENT: [&str; 4] = ["attempts", "views", "quarantine", "rows"];

/// Bytes and files of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheSize {
    /// Bytes in all.
    pub bytes: u64,
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
    /// Bytes of pinned results and checkpoints.
    pub pinned_bytes: u64,
    /// What cleaning would free.
    pub freed: Freed,
}

/// Bytes that cleaning would free, each with what is on its left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Freed {
    /// By `gc` alone: what nothing refers to.
    pub gc: u64,
    /// And results and checkpoints not used for 90 days.
    pub unused_90_days: u64,
    /// For 30 days.
    pub unused_30_days: u64,
    /// For 7 days.
    pub unused_7_days: u64,
}

/// What cleaning removes beyond what nothing refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Results and checkpoints not used for more seconds than this.
    pub max_age: Option<u64>,
    /// Results and checkpoints, the least recently used first, until the whole
    /// cache has no more bytes than this.
    pub max_size: Option<u64>,
    /// Results that stay whatever their age and size.
    pub keep: HashSet<StageKey>,
    /// Remove nothing.
    pub dry_run: bool,
}

/// What cleaning removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Results of stages.
    pub records: u64,
    /// Their objects, and those no record refers to.
    pub objects: u64,
    /// Checkpoints of stages.
    pub partials: u64,
    /// Journals of runs.
    pub runs: u64,
    /// Bytes of all that was removed.
    pub bytes: u64,
    /// Bytes left.
    pub left_bytes: u64,
}

impl Policy {
    /// True for what stays whatever its age and size.
    fn spares(&self, holding: &Holding) -> bool {
        holding.pinned || holding.leased || self.keep.contains(&holding.key)
    }
}

/// What is to go.
#[derive(Default)]
struct Doomed {
    /// Places in the survey.
    holdings: BTreeSet<usize>,
    objects: Vec<(Digest, u64)>,
    bytes: u64,
}

impl Store {
    /// Bytes and files of the store, and what cleaning would free.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn size(&self) -> Result<CacheSize, StoreError> {
        let survey = self.survey()?;
        let freed = |days: Option<u64>| {
            let policy = Policy {
                max_age: days.map(|days| days * DAY),
                ..Policy::default()
            };
            survey.spent_bytes + doom(&survey, &policy).bytes
        };
        Ok(CacheSize {
            bytes: survey.bytes,
            records: survey.records().count() as u64,
            objects: survey.objects.len() as u64,
            object_bytes: survey.objects.values().sum(),
            partial_bytes: survey.partial_bytes,
            hub_bytes: survey.hub_bytes,
            other_bytes: survey.other_bytes(),
            pinned_bytes: survey.pinned_bytes(),
            freed: Freed {
                gc: freed(None),
                unused_90_days: freed(Some(90)),
                unused_30_days: freed(Some(30)),
                unused_7_days: freed(Some(7)),
            },
        })
    }

    /// Removes what nothing refers to, and what the policy gives up. Pinned
    /// results, and checkpoints of stages that are not finished, stay; refuses
    /// while a run uses the store. `dead` is told of the folder of attempts
    /// before it goes: what an engine that was killed left may still write there.
    ///
    /// # Errors
    /// A run uses the store, it is no cache, or it cannot be written.
    pub fn gc(&self, policy: &Policy, dead: &dyn Fn(&Path)) -> Result<Collected, StoreError> {
        if !self.root.join("locks").exists() {
            return Ok(Collected::default());
        }
        if !self.is_cache() {
            return Err(StoreError::NoCache(self.root.clone()));
        }
        let Ok(_lock) = Lock::try_exclusive(&self.cache_lock())? else {
            return Err(StoreError::InUse(self.root.clone()));
        };
        let survey = self.survey()?;
        let doomed = doom(&survey, policy);
        if !policy.dry_run {
            dead(&self.root.join("attempts"));
            self.remove(&survey, &doomed)?;
        }
        let bytes = survey.spent_bytes + doomed.bytes;
        let gone = doomed.holdings.iter().map(|&place| &survey.holdings[place]);
        let records = gone.clone().filter(|holding| holding.is_record()).count();
        Ok(Collected {
            records: records as u64,
            objects: doomed.objects.len() as u64,
            partials: (gone.count() - records) as u64,
            runs: 0,
            bytes,
            left_bytes: survey.bytes.saturating_sub(bytes),
        })
    }

    /// Records first: see the module.
    fn remove(&self, survey: &Survey, doomed: &Doomed) -> Result<(), StoreError> {
        let mut forgotten = HashSet::new();
        for holding in doomed.holdings.iter().map(|&place| &survey.holdings[place]) {
            match holding.is_record() {
                true => {
                    fs::remove_file(&holding.path).at("remove", &holding.path)?;
                    forgotten.insert(holding.key);
                }
                false => self.discard(&holding.path)?,
            }
        }
        if !forgotten.is_empty() {
            sync_dir(&self.root.join("actions"))?;
        }
        for (digest, _) in &doomed.objects {
            let path = self.object_path(digest);
            fs::remove_file(&path).at("remove", &path)?;
        }
        for name in SPENT {
            let dir = self.root.join(name);
            remove_dir(&dir)?;
            make_dir(&dir)?;
        }
        self.remove_leftovers(false)?;
        // Now there is room to write.
        if !forgotten.is_empty() {
            self.forget_uses(&forgotten)?;
        }
        self.remove_locks()
    }

    /// Removes a stage's checkpoints in one step: half of them would be taken for
    /// whole ones.
    fn discard(&self, dir: &Path) -> Result<(), StoreError> {
        let attempts = self.root.join("attempts");
        make_dir(&attempts)?;
        let aside = attempts.join(super::durable::unique_name("discarded"));
        fs::rename(dir, &aside).at("remove", dir)?;
        remove_dir(&aside)
    }
}

/// What a policy gives up.
fn doom(survey: &Survey, policy: &Policy) -> Doomed {
    let now = seconds_now();
    let mut doomed = Doomed::default();
    let too_old = |holding: &Holding| {
        let age = now.saturating_sub(holding.used);
        policy.max_age.is_some_and(|most| age > most) && !policy.spares(holding)
    };
    for (place, holding) in survey.holdings.iter().enumerate() {
        if holding.finished && !holding.leased || too_old(holding) {
            doomed.holdings.insert(place);
            doomed.bytes += holding.bytes;
        }
    }
    let references = survey.references(&doomed.holdings);
    for (digest, bytes) in &survey.objects {
        if !references.contains_key(digest) {
            doomed.objects.push((*digest, *bytes));
            doomed.bytes += bytes;
        }
    }
    if let Some(most) = policy.max_size {
        doom_until(most, survey, policy, references, &mut doomed);
    }
    doomed
}

/// Gives up what was used longest ago until no more than `most` bytes are left.
fn doom_until(
    most: u64,
    survey: &Survey,
    policy: &Policy,
    mut references: HashMap<Digest, u64>,
    doomed: &mut Doomed,
) {
    let kept = survey.bytes.saturating_sub(survey.spent_bytes);
    for place in survey.least_recently_used() {
        let holding = &survey.holdings[place];
        if kept.saturating_sub(doomed.bytes) <= most {
            return;
        }
        if policy.spares(holding) || !doomed.holdings.insert(place) {
            continue;
        }
        doomed.bytes += holding.bytes;
        for digest in &holding.objects {
            let Some(count) = references.get_mut(digest) else {
                continue;
            };
            *count -= 1;
            if *count == 0
                && let Some(bytes) = survey.objects.get(digest)
            {
                doomed.objects.push((*digest, *bytes));
                doomed.bytes += bytes;
            }
        }
    }
}
