//! What happens to a cache while nobody looks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use moreline::engine;

use super::Chaos;
use super::state::files;
use crate::engine::damage::{flip, trust_in_memo};

/// What is damaged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Damage {
    ObjectFlipped,
    /// With its modification time restored.
    ObjectFlippedAndDated,
    /// Below the file system: only reading the bytes shows it.
    ObjectRotten,
    ObjectTruncated,
    ObjectGone,
    RecordFlipped,
    RecordTruncated,
    RecordGarbage,
    /// Another stage's record in its place.
    RecordSwapped,
    /// Half a record under a temporary name, as a kill leaves it.
    Leftovers,
    Memo,
    /// A finished record of a stage under way.
    Journal,
    Views,
    /// Records of runs, and the keys stages had last.
    Runs,
    /// Copies beside the experiment.
    Copies,
}

impl Damage {
    pub(super) const ALL: [Self; 16] = [
        Self::ObjectFlipped,
        Self::Journal,
        Self::ObjectTruncated,
        Self::Journal,
        Self::RecordFlipped,
        Self::RecordTruncated,
        Self::Memo,
        Self::ObjectFlippedAndDated,
        Self::RecordSwapped,
        Self::Views,
        Self::RecordGarbage,
        Self::ObjectRotten,
        Self::ObjectGone,
        Self::Leftovers,
        Self::Runs,
        Self::Copies,
    ];
}

impl Chaos {
    /// Removes some records, or all, so that there is something to compute.
    pub(super) fn forget(&mut self) {
        let records = listed(&self.fixture.cache().join("actions"));
        let all = self.dice.below(3) == 0;
        let kept = self.dice.below(records.len().max(1));
        for (place, record) in records.iter().enumerate() {
            if all || (place != kept && self.dice.coin()) {
                fs::remove_file(record).unwrap();
            }
        }
    }

    pub(super) fn damage(&mut self, damage: Damage) {
        let cache = self.fixture.cache();
        let objects = listed(&cache.join("objects"));
        let records = listed(&cache.join("actions"));
        let object = self.dice.pick(&objects).cloned();
        let record = self.dice.pick(&records).cloned();
        let done = match damage {
            Damage::ObjectFlipped => object.is_some_and(|path| self.flip_anywhere(&path)),
            Damage::ObjectFlippedAndDated => object.is_some_and(|path| non_empty(&path, flip)),
            Damage::ObjectRotten => object.is_some_and(|path| self.rot(&path)),
            Damage::ObjectTruncated => object.is_some_and(|path| self.truncate(&path)),
            Damage::ObjectGone => object.is_some_and(|path| fs::remove_file(path).is_ok()),
            Damage::RecordFlipped => record.is_some_and(|path| self.flip_anywhere(&path)),
            Damage::RecordTruncated => record.is_some_and(|path| self.truncate(&path)),
            Damage::RecordGarbage => record.is_some_and(|path| self.garble(&path)),
            Damage::RecordSwapped => record.is_some_and(|path| {
                let other = self.dice.pick(&records).unwrap();
                fs::copy(other, path).is_ok()
            }),
            Damage::Leftovers => record.is_some_and(|path| self.leave(&path)),
            Damage::Memo => self.any_of(&[cache.join("memo")]),
            Damage::Journal => self.any_of(&listed(&cache.join("partial"))),
            Damage::Views => self.damage_views(),
            Damage::Runs => {
                let mut paths = listed(&cache.join("runs"));
                paths.extend(listed(&cache.join("latest")));
                self.any_of(&paths)
            }
            Damage::Copies => {
                let copies = listed(&self.fixture.path("outputs"));
                self.any_of(&copies)
            }
        };
        *self.counts.damage.entry(damage).or_default() += usize::from(done);
    }

    /// Flips a bit, cuts off the end, or writes garbage.
    fn any_of(&mut self, paths: &[PathBuf]) -> bool {
        let Some(path) = self.dice.pick(paths).cloned() else {
            return false;
        };
        match self.dice.below(3) {
            0 => self.flip_anywhere(&path),
            1 => self.truncate(&path),
            _ => self.garble(&path),
        }
    }

    fn flip_anywhere(&mut self, path: &Path) -> bool {
        let Ok(mut bytes) = fs::read(path) else {
            return false;
        };
        if bytes.is_empty() {
            return false;
        }
        let place = self.dice.below(bytes.len());
        bytes[place] ^= 1 << self.dice.below(8);
        write(path, &bytes)
    }

    fn truncate(&mut self, path: &Path) -> bool {
        let Ok(bytes) = fs::read(path) else {
            return false;
        };
        !bytes.is_empty() && write(path, &bytes[..self.dice.below(bytes.len())])
    }

    fn garble(&mut self, path: &Path) -> bool {
        let count = self.dice.below(300);
        write(path, &self.dice.bytes(count))
    }

    /// A flipped bit that the memo knows nothing of: found by a check of the cache.
    fn rot(&mut self, object: &Path) -> bool {
        // The memo trusts in what it has seen.
        if !self.fixture.cache().join("memo").exists() || !non_empty(object, flip) {
            return false;
        }
        let memo = fs::read_to_string(self.fixture.cache().join("memo"));
        if memo.is_ok_and(|memo| memo.contains(object.to_str().unwrap())) {
            trust_in_memo(&self.fixture, object);
        }
        let store = engine::store(&self.fixture.experiment, &self.fixture.site);
        let verified = store.verify_all().unwrap();
        assert!(!verified.damaged.is_empty(), "a check found nothing");
        true
    }

    fn leave(&mut self, record: &Path) -> bool {
        let bytes = fs::read(record).unwrap();
        let half = &bytes[..self.dice.below(bytes.len().max(1))];
        let cache = self.fixture.cache();
        for directory in ["actions", "objects", "views", "."] {
            let name = format!(".tmp-1-{:x}-0", self.dice.below(1 << 20));
            fs::write(cache.join(directory).join(name), half).unwrap();
        }
        true
    }

    /// Links to other objects, files in place of links, and files beside them.
    fn damage_views(&mut self) -> bool {
        let objects = listed(&self.fixture.cache().join("objects"));
        let links = listed(&self.fixture.cache().join("views"));
        let (Some(link), Some(other)) = (self.dice.pick(&links), self.dice.pick(&objects)) else {
            return false;
        };
        let kind = self.dice.below(4);
        if kind == 3 {
            return fs::write(link.with_file_name("more.json"), "{}").is_ok();
        }
        fs::remove_file(link).unwrap();
        match kind {
            0 => std::os::unix::fs::symlink(other, link).is_ok(),
            1 => fs::write(link, "garbage").is_ok(),
            _ => true,
        }
    }
}

/// The files under a directory that are not temporary, none if it is not there.
fn listed(directory: &Path) -> Vec<PathBuf> {
    if !directory.exists() {
        return Vec::new();
    }
    let mut files = files(directory);
    files.retain(|file| !file.file_name().unwrap().to_string_lossy().starts_with('.'));
    files
}

fn non_empty(path: &Path, change: impl FnOnce(&Path)) -> bool {
    let holds = fs::metadata(path).is_ok_and(|file| file.len() > 0);
    if holds {
        change(path);
    }
    holds
}

/// Writes bytes in place of a file's, whatever its permissions.
fn write(path: &Path, bytes: &[u8]) -> bool {
    let Ok(metadata) = fs::metadata(path) else {
        return false;
    };
    let before = metadata.permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let written = fs::write(path, bytes).is_ok();
    fs::set_permissions(path, before).unwrap();
    written
}
