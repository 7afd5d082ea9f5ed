//! Directories that are either whole or not there.
//!
//! Files are written beside the place, synced, listed with their sizes and
//! checksums in `seal.json`, and the directory is renamed into place. What a
//! kill, a full disk or a flipped bit leaves is told from what is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::WorkerError;

/// Name of the list.
const SEAL: &str = "seal.json";
/// Bytes read at once.
const BUFFER: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Seal {
    files: BTreeMap<String, Sum>,
}

/// What tells a file from a damaged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    bytes: u64,
    crc32c: u32,
}

/// Writes the directory `place`: `fill` gets an empty one beside it. What was
/// at `place` before is replaced.
///
/// # Errors
/// The system's, and those of `fill`.
pub(super) fn write(
    place: &Path,
    fill: impl FnOnce(&Path) -> Result<(), WorkerError>,
) -> Result<(), WorkerError> {
    let parent = place.parent().unwrap_or(Path::new("."));
    let fresh = parent.join("new");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(|e| WorkerError::io("create", &fresh, e))?;
    fill(&fresh)?;
    let mut seal = Seal {
        files: BTreeMap::new(),
    };
    for path in files(&fresh).map_err(|e| WorkerError::io("read", &fresh, e))? {
        let sum = sum(&path, true).map_err(|e| WorkerError::io("sync", &path, e))?;
        seal.files.insert(name(&path), sum);
    }
    let path = fresh.join(SEAL);
    let text = serde_json::to_vec(&seal).map_err(|e| WorkerError::io("write", &path, e.into()))?;
    fs::write(&path, text).map_err(|e| WorkerError::io("write", &path, e))?;
    for path in [&path, &fresh] {
        sync(path)?;
    }
    if place.exists() {
        fs::remove_dir_all(place).map_err(|e| WorkerError::io("remove", place, e))?;
    }
    fs::rename(&fresh, place).map_err(|e| WorkerError::io("rename", &fresh, e))?;
    sync(parent)
}

/// The directory's files, if all are there with their bytes, else what is wrong.
pub(super) fn check(place: &Path) -> Result<Vec<PathBuf>, String> {
    let text = fs::read(place.join(SEAL)).map_err(|e| format!("its seal cannot be read: {e}"))?;
    let seal: Seal = serde_json::from_slice(&text).map_err(|e| format!("its seal is torn: {e}"))?;
    let mut found = Vec::new();
    for (name, wanted) in seal.files {
        let path = place.join(&name);
        match sum(&path, false) {
            Ok(sum) if sum == wanted => found.push(path),
            Ok(sum) if sum.bytes != wanted.bytes => {
                return Err(format!(
                    "{name} has {} bytes of {}",
                    sum.bytes, wanted.bytes
                ));
            }
            Ok(_) => return Err(format!("{name} is damaged")),
            Err(e) => return Err(format!("{name} cannot be read: {e}")),
        }
    }
    Ok(found)
}

/// The plain files of a directory.
fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Size and checksum of a file, which is synced first if asked to.
fn sum(path: &Path, sync: bool) -> std::io::Result<Sum> {
    let mut file = File::open(path)?;
    if sync {
        file.sync_all()?;
    }
    let mut buffer = vec![0; BUFFER];
    let mut sum = Sum {
        bytes: 0,
        crc32c: 0,
    };
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sum),
            read => {
                sum.bytes += read as u64;
                sum.crc32c = crc32c::crc32c_append(sum.crc32c, &buffer[..read]);
            }
        }
    }
}

/// Syncs a file or directory.
///
/// # Errors
/// The system's.
pub(super) fn sync(path: &Path) -> Result<(), WorkerError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|e| WorkerError::io("sync", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(dir: &Path) -> PathBuf {
        let place = dir.join("step-3");
        write(&place, |fresh| {
            fs::write(fresh.join("a"), "first").unwrap();
            fs::write(fresh.join("b"), "second").unwrap();
            Ok(())
        })
        .unwrap();
        place
    }

    #[test]
    fn what_was_written_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let place = sealed(dir.path());
        let files = check(&place).unwrap();
        assert_eq!(files, [place.join("a"), place.join("b")]);
        assert!(!dir.path().join("new").exists());
        assert!(check(&sealed(dir.path())).is_ok(), "written over itself");
    }

    #[test]
    fn damage_is_told() {
        let damage = |change: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            let place = sealed(dir.path());
            change(&place);
            check(&place).unwrap_err()
        };
        let cut = damage(&|place| fs::write(place.join("a"), "fir").unwrap());
        assert_eq!(cut, "a has 3 bytes of 5");
        let flipped = damage(&|place| fs::write(place.join("b"), "sekond").unwrap());
        assert_eq!(flipped, "b is damaged");
        let gone = damage(&|place| fs::remove_file(place.join("b")).unwrap());
        assert!(gone.starts_with("b cannot be read"), "{gone}");
        let torn = damage(&|place| fs::write(place.join(SEAL), "{\"fil").unwrap());
        assert!(torn.starts_with("its seal is torn"), "{torn}");
    }
}
