//! Writing so that a power cut leaves the old state or the new one.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{AtPath, StoreError};

/// What temporary files are called until they are renamed.
pub(super) const TEMPORARY: &str = ".tmp";

/// A file name no other process or thread uses, on this host or another. It
/// holds no time: clocks are set back.
pub(crate) fn unique_name(prefix: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    static RANDOM: OnceLock<u64> = OnceLock::new();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // The keys of a new state are random.
    let random = RANDOM.get_or_init(|| RandomState::new().hash_one(0));
    format!("{prefix}-{}-{random:x}-{count}", std::process::id())
}

/// Makes a directory and its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).at("make directory", path)
}

/// Makes a directory, and waits until its parent holds it.
pub(crate) fn make_dir_durably(path: &Path) -> Result<(), StoreError> {
    make_dir(path)?;
    #[cfg(test)]
    order::note(order::Step::Made(path.to_owned()));
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Waits until a file's bytes are on disk.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_all().at("sync", path)?;
    #[cfg(test)]
    order::note(order::Step::Synced(path.to_owned()));
    Ok(())
}

/// Waits until a directory's entries are on disk, where the file system knows
/// of such a thing.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    match File::open(path).and_then(|dir| dir.sync_all()) {
        Err(error) if !is_beyond(&error) => return Err(error).at("sync", path),
        _ => {}
    }
    #[cfg(test)]
    order::note(order::Step::SyncedDir(path.to_owned()));
    Ok(())
}

/// True if a file system cannot do what was asked for.
fn is_beyond(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

/// Moves a file to where others look for it.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).at("write", to)?;
    #[cfg(test)]
    order::note(order::Step::Renamed(from.to_owned(), to.to_owned()));
    Ok(())
}

/// Replaces a file in one step; `durable` waits for the disk.
pub(crate) fn replace(path: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = dir.join(unique_name(TEMPORARY));
    let written = write_new(&temporary, bytes, durable).and_then(|()| rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    if durable { sync_dir(dir) } else { Ok(()) }
}

/// Replaces a file in one step, its permissions kept.
pub(crate) fn replace_keeping_mode(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let permissions = fs::metadata(path).at("read", path)?.permissions();
    if permissions.readonly() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied)).at("write", path);
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = dir.join(unique_name(".tmp"));
    let written = write_new(&temporary, bytes, true)
        .and_then(|()| fs::set_permissions(&temporary, permissions).at("write", &temporary))
        .and_then(|()| fs::rename(&temporary, path).at("write", path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .at("write", path)?;
    file.write_all(bytes).at("write", path)?;
    if durable {
        sync_file(&file, path)?;
    }
    Ok(())
}

/// The bytes of a file that is not larger than `max`. Directories and files of
/// endless length, such as devices, are errors.
pub(crate) fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let message = format!("it is larger than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The same as text.
pub(crate) fn read_text_at_most(path: &Path, max: u64) -> io::Result<String> {
    let bytes = read_at_most(path, max)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Removes a directory and all in it, whatever its files' permissions; says
/// nothing if it is not there.
pub(crate) fn remove_dir(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

/// The entries of a directory, sorted; none if it is not there.
pub(crate) fn entries(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let dir = match fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("read directory", path)?,
    };
    let mut paths = Vec::new();
    for entry in dir {
        paths.push(entry.at("read directory", path)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// What was made durable, in order: for tests of what a power cut leaves.
#[cfg(test)]
pub(super) mod order {
    use std::cell::RefCell;
    use std::path::PathBuf;

    /// One step of one thread.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::store) enum Step {
        Made(PathBuf),
        Synced(PathBuf),
        Renamed(PathBuf, PathBuf),
        SyncedDir(PathBuf),
    }

    thread_local! {
        static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(step: Step) {
        STEPS.with_borrow_mut(|steps| steps.push(step));
    }

    /// The steps of this thread since last asked.
    pub(in crate::store) fn take() -> Vec<Step> {
        STEPS.take()
    }
}
