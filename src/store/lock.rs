//! Kernel locks: they end with the process that holds them, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clock::now_rfc3339;
use super::error::{AtPath, StoreError};
use crate::event::Holder;

/// How often a waiting process looks again.
const POLL: Duration = Duration::from_millis(50);

/// A lock held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a file, which is made if need be, or says who holds it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Result<Self, Option<Holder>>, StoreError> {
        loop {
            let mut file = open(path)?;
            match file.try_lock() {
                Ok(()) if is_current(&file, path) => {
                    // It only names the holder: on a full disk the lock holds all the same.
                    let _ = write_holder(&mut file);
                    return Ok(Ok(Self { _file: file }));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Err(read_holder(&mut file))),
                Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
            }
        }
    }

    /// Takes the lock, waiting for whoever holds it. `waiting` is told once.
    pub(crate) fn exclusive(
        path: &Path,
        cancel: &AtomicBool,
        waiting: &dyn Fn(Option<Holder>),
    ) -> Result<Self, StoreError> {
        let mut told = false;
        loop {
            match Self::try_exclusive(path)? {
                Ok(lock) => return Ok(lock),
                Err(holder) if !told => {
                    told = true;
                    waiting(holder);
                }
                Err(_) => {}
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(StoreError::Stopped);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Who took the lock last, whether or not it is held.
    pub(super) fn last_holder(path: &Path) -> Option<Holder> {
        read_holder(&mut File::open(path).ok()?)
    }

    /// Takes a lock that many may hold at once, but not beside an exclusive one.
    pub(crate) fn shared(path: &Path) -> Result<Self, StoreError> {
        let file = open(path)?;
        file.lock_shared().at("lock", path)?;
        Ok(Self { _file: file })
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .at("open lock", path)
}

/// False if the file was removed, or replaced, between opening and locking.
fn is_current(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    let holder = Holder {
        pid: std::process::id(),
        host: host(),
        since: now_rfc3339(),
    };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(&holder)?)
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// This host's name.
pub(crate) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_named_and_the_lock_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.lock");
        let held = Lock::try_exclusive(&path).unwrap().unwrap();
        let holder = Lock::try_exclusive(&path).unwrap().unwrap_err().unwrap();
        assert_eq!(holder.pid, std::process::id());
        drop(held);
        assert!(Lock::try_exclusive(&path).unwrap().is_ok());
    }

    #[test]
    fn a_removed_lock_file_does_not_give_two_locks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.lock");
        let stale = open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        stale.lock().unwrap();
        assert!(!is_current(&stale, &path));
        assert!(Lock::try_exclusive(&path).unwrap().is_ok());
    }

    #[test]
    fn waiting_can_be_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.lock");
        let _held = Lock::try_exclusive(&path).unwrap().unwrap();
        let stopped = Lock::exclusive(&path, &AtomicBool::new(true), &|_| {});
        assert!(matches!(stopped, Err(StoreError::Stopped)));
    }
}
