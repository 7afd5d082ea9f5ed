//! Directories of stages under way.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::durable::{TEMPORARY, entries, make_dir, remove_dir, rename, sync_file, unique_name};
use super::error::{AtPath, StoreError};
use super::lock::host;
use super::{Lock, Store};
use crate::plan::StageKey;

/// How long the attempts of another host are left alone. Where locks do not
/// reach from host to host, that nobody seems to hold one means nothing.
const OTHER_HOST: Duration = Duration::from_secs(7 * 24 * 3600);

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
    /// The attempts of a run; removes what dead runs left behind. `dead` is told
    /// of each directory before it goes.
    pub fn attempts(&self, run: &str, dead: &dyn Fn(&Path)) -> Result<Attempts, StoreError> {
        let gate = self.root.join("locks").join("attempts.lock");
        let _gate = Lock::exclusive(&gate, &AtomicBool::new(false), &|_| {})?;
        self.remove_dead_attempts(dead)?;
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
        for file in entries(&next)? {
            detach(&file)?;
        }
        Ok(next)
    }

    /// Throws a stage's checkpoints away, once its result is committed.
    pub fn remove_partial(&self, key: &StageKey) -> Result<(), StoreError> {
        remove_dir(&self.partial_path(key))
    }

    fn partial_path(&self, key: &StageKey) -> PathBuf {
        self.root.join("partial").join(key.to_string())
    }

    fn remove_dead_attempts(&self, dead: &dyn Fn(&Path)) -> Result<(), StoreError> {
        for dir in entries(&self.root.join("attempts"))? {
            if is_dead(&dir) {
                dead(&dir);
                remove_dir(&dir)?;
            }
        }
        Ok(())
    }
}

/// Puts a copy of a file in its place: a writer left over from an earlier
/// attempt, that still has the file open, writes into the old one. Directories
/// are left: what is in them is written once, under a checksum.
fn detach(file: &Path) -> Result<(), StoreError> {
    let kind = fs::symlink_metadata(file).at("read", file)?.file_type();
    if !kind.is_file() {
        return Ok(());
    }
    let copy = file.with_file_name(unique_name(TEMPORARY));
    let copied = fs::copy(file, &copy).at("copy", file);
    let synced = copied.and_then(|_| sync_file(&fs::File::open(&copy).at("open", &copy)?, &copy));
    let placed = synced.and_then(|()| rename(&copy, file));
    if placed.is_err() {
        let _ = fs::remove_file(&copy);
    }
    placed
}

/// True if no living process holds the directory's lock.
fn is_dead(dir: &Path) -> bool {
    let path = dir.join("lock");
    let elsewhere = Lock::last_holder(&path).is_some_and(|holder| holder.host != host());
    if elsewhere && !is_older(&path, OTHER_HOST) {
        return false;
    }
    matches!(Lock::try_exclusive(&path), Ok(Ok(_)))
}

/// True if a file was last written so long ago, by a clock that may be wrong.
fn is_older(path: &Path, than: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > than))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;

    use super::*;
    use crate::digest::Digest;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path());
        store.prepare().unwrap();
        (dir, store)
    }

    /// An attempt of a run that is over, on some host.
    fn dead_attempt(store: &Store, run: &str, host: &str) -> PathBuf {
        let dir = store.root().join("attempts").join(run);
        fs::create_dir(&dir).unwrap();
        let holder = serde_json::json!({"pid": 1, "host": host, "since": "then"});
        fs::write(dir.join("lock"), holder.to_string()).unwrap();
        dir
    }

    #[test]
    fn what_dead_runs_of_this_host_left_goes() {
        let (_dir, store) = store();
        let ours = dead_attempt(&store, "ours", &host());
        let living = store.attempts("living", &|_| {}).unwrap();
        let theirs = dead_attempt(&store, "theirs", "another");
        let old = dead_attempt(&store, "old", "another");
        let lock = fs::File::options().append(true).open(old.join("lock"));
        let long_ago = std::time::SystemTime::now() - 2 * OTHER_HOST;
        lock.unwrap().set_modified(long_ago).unwrap();
        assert!(!ours.exists());
        let told = RefCell::new(Vec::new());
        let tell = |dir: &Path| told.borrow_mut().push(dir.to_owned());
        let _next = store.attempts("next", &tell).unwrap();
        assert_eq!(told.into_inner(), std::slice::from_ref(&old));
        assert!(theirs.exists() && living.dir.exists() && !old.exists());
    }

    /// A clock that is set back makes nothing old.
    #[test]
    fn what_another_host_wrote_in_the_future_stays() {
        let (_dir, store) = store();
        let theirs = dead_attempt(&store, "theirs", "another");
        let lock = fs::File::options().append(true).open(theirs.join("lock"));
        let later = std::time::SystemTime::now() + 2 * OTHER_HOST;
        lock.unwrap().set_modified(later).unwrap();
        let _next = store.attempts("next", &|_| {}).unwrap();
        assert!(theirs.exists());
    }

    #[test]
    fn a_late_writer_reaches_no_journal_of_a_later_attempt() {
        let (_dir, store) = store();
        let key = StageKey(Digest::of(b"key"));
        let first = store.partial(&key).unwrap();
        fs::create_dir(first.join("checkpoint")).unwrap();
        fs::write(first.join("journal"), "one\n").unwrap();
        let journal = fs::File::options().append(true).open(first.join("journal"));
        let mut late = journal.unwrap();
        let second = store.partial(&key).unwrap();
        late.write_all(b"late\n").unwrap();
        assert_eq!(fs::read(second.join("journal")).unwrap(), b"one\n");
        assert!(!first.exists() && second.join("checkpoint").is_dir());
        assert_eq!(entries(&second).unwrap().len(), 2);
    }
}
