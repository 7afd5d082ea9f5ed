//! Writing so that a power cut leaves the old state or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::nanos_now;
use super::error::{AtPath, StoreError};

/// A file name no other process or thread uses.
pub(crate) fn unique_name(prefix: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{:x}-{count}", std::process::id(), nanos_now())
}

/// Makes a directory and its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).at("make directory", path)
}

/// Waits until a directory's entries are on disk.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .at("sync", path)
}

/// Replaces a file in one step; `durable` waits for the disk.
pub(crate) fn replace(path: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = dir.join(unique_name(".tmp"));
    let written = write_new(&temporary, bytes, durable)
        .and_then(|()| fs::rename(&temporary, path).at("write", path));
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
        file.sync_all().at("sync", path)?;
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
