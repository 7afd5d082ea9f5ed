//! Hashing many files at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::StoreError;
use super::memo::FileStat;
use crate::digest::Digest;

/// Files are hashed on at most this many threads.
const THREADS: usize = 8;

/// A file's digest and what it looked like, or why it could not be read.
pub(crate) type Hashed = Result<(Digest, FileStat), StoreError>;

/// Hashes files with `hash`, the largest first, so that none is left to be
/// waited for alone.
pub(super) fn hash(
    mut paths: Vec<PathBuf>,
    hash: &(dyn Fn(&Path) -> Hashed + Sync),
) -> HashMap<PathBuf, Hashed> {
    paths.sort();
    paths.dedup();
    let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    paths.sort_by_cached_key(|path| std::cmp::Reverse(size(path)));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(HashMap::new());
    let work = || {
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            let hashed = hash(path);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.insert(path.clone(), hashed);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    std::thread::scope(|scope| {
        for _ in 1..cores.min(paths.len()) {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_gets_its_own_digest() {
        let dir = tempfile::tempdir().unwrap();
        let mut paths: Vec<_> = (0..40).map(|i| dir.path().join(format!("{i}"))).collect();
        for (i, path) in paths.iter().enumerate() {
            fs::write(path, "x".repeat(i)).unwrap();
        }
        paths.push(dir.path().join("absent"));
        paths.push(paths[3].clone());
        let hashed = hash(paths, &|path| {
            let (digest, _) = Digest::of_file(path).map_err(|source| StoreError::Io {
                doing: "read",
                path: path.to_owned(),
                source,
            })?;
            Ok((digest, FileStat::of_path(path)?))
        });
        assert_eq!(hashed.len(), 41);
        for i in 0..40 {
            let (digest, _) = hashed[&dir.path().join(format!("{i}"))].as_ref().unwrap();
            assert_eq!(*digest, Digest::of("x".repeat(i).as_bytes()));
        }
        assert!(hashed[&dir.path().join("absent")].is_err());
    }
}
