//! What a store holds, looked at once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::SPENT;
use crate::digest::Digest;
use crate::plan::StageKey;
use crate::store::durable::{entries, read_at_most};
use crate::store::error::{AtPath, StoreError};
use crate::store::lookup::MAX_RECORD;
use crate::store::{ActionRecord, ObjectForm, Store};

/// The file that says that a job of a cluster writes a stage's checkpoints.
const LEASE: &str = "lease.json";

/// A result, or the checkpoints of a stage.
pub(super) struct Holding {
    pub(super) key: StageKey,
    /// The record, or the directory of checkpoints.
    pub(super) path: PathBuf,
    /// Bytes of its own, without objects.
    pub(super) bytes: u64,
    /// When it was last used, in seconds since 1970.
    pub(super) used: u64,
    /// The objects of a result, each once.
    pub(super) objects: HashSet<Digest>,
    pub(super) pinned: bool,
    /// A job outside this machine's locks writes to it.
    pub(super) leased: bool,
    /// Checkpoints whose stage is committed.
    pub(super) finished: bool,
    record: bool,
}

impl Holding {
    pub(super) fn is_record(&self) -> bool {
        self.record
    }
}

/// What a store holds.
pub(super) struct Survey {
    pub(super) holdings: Vec<Holding>,
    /// Bytes of every object.
    pub(super) objects: HashMap<Digest, u64>,
    /// Bytes in all.
    pub(super) bytes: u64,
    /// Bytes of what is never kept.
    pub(super) spent_bytes: u64,
    /// Bytes of checkpoints and attempts.
    pub(super) partial_bytes: u64,
    pub(super) hub_bytes: u64,
}

impl Survey {
    pub(super) fn records(&self) -> impl Iterator<Item = &Holding> {
        self.holdings.iter().filter(|holding| holding.record)
    }

    pub(super) fn other_bytes(&self) -> u64 {
        let objects: u64 = self.objects.values().sum();
        let told = objects + self.partial_bytes + self.hub_bytes;
        self.bytes.saturating_sub(told)
    }

    pub(super) fn pinned_bytes(&self) -> u64 {
        let pinned = || self.holdings.iter().filter(|holding| holding.pinned);
        let objects: HashSet<&Digest> = pinned().flat_map(|holding| &holding.objects).collect();
        let bytes = objects
            .iter()
            .filter_map(|digest| self.objects.get(*digest));
        pinned().map(|holding| holding.bytes).sum::<u64>() + bytes.sum::<u64>()
    }

    /// How many results name each object, without those that are to go.
    pub(super) fn references(&self, without: &BTreeSet<usize>) -> HashMap<Digest, u64> {
        let mut references = HashMap::new();
        for (place, holding) in self.holdings.iter().enumerate() {
            if !without.contains(&place) {
                for digest in &holding.objects {
                    *references.entry(*digest).or_default() += 1;
                }
            }
        }
        references
    }

    /// Places of the holdings, the one used longest ago first.
    pub(super) fn least_recently_used(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.holdings.len()).collect();
        places.sort_by_key(|&place| (self.holdings[place].used, self.holdings[place].key));
        places
    }
}

impl Store {
    pub(super) fn survey(&self) -> Result<Survey, StoreError> {
        let uses = self.uses();
        let pins: HashSet<StageKey> = self.pins()?.into_iter().map(|pin| pin.key).collect();
        let mut holdings = Vec::new();
        for path in self.record_files()? {
            holdings.extend(self.result(path, &pins)?);
        }
        let committed: HashSet<StageKey> = holdings.iter().map(|holding| holding.key).collect();
        for holding in &mut holdings {
            holding.used = uses.get(&holding.key).copied().unwrap_or(holding.used);
        }
        for path in entries(&self.root.join("partial"))? {
            holdings.extend(self.checkpoints(path, &pins, &committed)?);
        }
        let objects = self.objects()?;
        let objects = objects
            .iter()
            .map(|(digest, path)| (*digest, file_bytes(path)));
        let dir_bytes = |name: &str| tree_bytes(&self.root.join(name));
        let mut spent_bytes = 0;
        for name in SPENT {
            spent_bytes += dir_bytes(name)?;
        }
        spent_bytes += self.remove_leftovers(true)?;
        Ok(Survey {
            holdings,
            objects: objects.collect(),
            bytes: tree_bytes(&self.root)?,
            spent_bytes,
            partial_bytes: dir_bytes("partial")? + dir_bytes("attempts")?,
            hub_bytes: dir_bytes("hub")?,
        })
    }

    /// A committed result; none for a record that is damaged.
    fn result(
        &self,
        path: PathBuf,
        pins: &HashSet<StageKey>,
    ) -> Result<Option<Holding>, StoreError> {
        let bytes = read_at_most(&path, MAX_RECORD).at("read", &path)?;
        let Some(record) = ActionRecord::parse(&bytes) else {
            return Ok(None);
        };
        let mut objects = HashSet::new();
        for output in record.outputs.values() {
            objects.insert(output.digest);
            if output.form == ObjectForm::Directory {
                match self.manifest(&output.digest) {
                    Ok(manifest) => {
                        objects.extend(manifest.entries().iter().map(|entry| entry.digest));
                    }
                    // What it named is not known, and it must be made anew.
                    Err(StoreError::Damaged { .. }) => {}
                    // Unreadable for now: its files are not to be taken for unused.
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Some(Holding {
            key: record.key,
            bytes: bytes.len() as u64,
            used: changed(&path),
            path,
            objects,
            pinned: pins.contains(&record.key),
            leased: false,
            finished: false,
            record: true,
        }))
    }

    /// A stage's checkpoints; none for a directory of another name.
    fn checkpoints(
        &self,
        path: PathBuf,
        pins: &HashSet<StageKey>,
        committed: &HashSet<StageKey>,
    ) -> Result<Option<Holding>, StoreError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(key) = name.and_then(|name| name.parse().ok()).map(StageKey) else {
            return Ok(None);
        };
        let tree = tree(&path)?;
        Ok(Some(Holding {
            key,
            bytes: tree.iter().map(|path| file_bytes(path)).sum(),
            used: tree
                .iter()
                .map(|path| changed(path))
                .max()
                .unwrap_or(0)
                .max(changed(&path)),
            leased: tree.iter().any(|path| path.ends_with(LEASE)),
            path,
            objects: HashSet::new(),
            pinned: pins.contains(&key),
            finished: committed.contains(&key),
            record: false,
        }))
    }
}

/// When a file of the store was last written, in seconds since 1970.
fn changed(path: &Path) -> u64 {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let since = modified
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

pub(in crate::store) fn file_bytes(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.len())
}

/// Bytes of the plain files under a path.
fn tree_bytes(path: &Path) -> Result<u64, StoreError> {
    Ok(tree(path)?.iter().map(|path| file_bytes(path)).sum())
}

/// The plain files under a path.
fn tree(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    for entry in entries(path)? {
        let Ok(metadata) = fs::symlink_metadata(&entry) else {
            continue;
        };
        if metadata.is_dir() {
            files.extend(tree(&entry)?);
        } else if metadata.is_file() {
            files.push(entry);
        }
    }
    Ok(files)
}
