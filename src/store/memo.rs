//! Digests remembered by what the file system says of a file.
//!
//! A file whose size, modification time, change time and inode are as they
//! were is taken to hold the same bytes. Files that changed less than two
//! seconds before they were hashed are not remembered: they could change again
//! within the clock's grain. The memo guards itself with a checksum; a damaged
//! one is forgotten, which costs time and nothing else.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::clock::nanos_now;
use super::durable::{read_text_at_most, replace};
use super::error::{AtPath, StoreError};
use crate::digest::Digest;

/// Largest memo read, in bytes: some millions of files.
const MAX_MEMO: u64 = 1 << 30;
const HEADER: &str = "moreline memo 1";
/// Nanoseconds a file must have been left alone before it is remembered.
const SETTLED: u64 = 2_000_000_000;

/// What the file system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStat {
    size: u64,
    mtime: i128,
    ctime: i128,
    inode: u64,
}

impl FileStat {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let nanos = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
        Self {
            size: metadata.size(),
            mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn of_path(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::of(&std::fs::metadata(path).at("read", path)?))
    }

    /// True if the file was left alone for a while before `now`.
    fn is_settled(&self, now: u64) -> bool {
        self.mtime.max(self.ctime) < i128::from(now) - i128::from(SETTLED)
    }
}

/// The memo: path to stat and digest.
#[derive(Debug)]
pub(crate) struct Memo {
    file: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<PathBuf, (FileStat, Digest)>,
    fresh: HashMap<PathBuf, (FileStat, Digest)>,
}

impl Memo {
    /// The memo kept in a file; empty if there is none or it is damaged.
    pub(crate) fn open(file: PathBuf) -> Self {
        let known = read(&file);
        Self {
            file,
            state: Mutex::new(State {
                known,
                fresh: HashMap::new(),
            }),
        }
    }

    /// The digest a file had when it looked like this.
    pub(crate) fn get(&self, path: &Path, stat: &FileStat) -> Option<Digest> {
        let state = self.lock();
        let (seen, digest) = state.fresh.get(path).or_else(|| state.known.get(path))?;
        (seen == stat).then_some(*digest)
    }

    /// The digest of a file, hashed only if it looks different.
    pub(crate) fn digest(&self, path: &Path) -> Result<(Digest, FileStat), StoreError> {
        let before = FileStat::of_path(path)?;
        if let Some(digest) = self.get(path, &before) {
            return Ok((digest, before));
        }
        let now = nanos_now();
        let (digest, _) = Digest::of_file(path).at("read", path)?;
        let after = FileStat::of_path(path)?;
        if after == before && before.is_settled(now) {
            self.put(path, before, digest);
        }
        Ok((digest, after))
    }

    /// Remembers a digest. Callers vouch that the file is settled or their own.
    pub(crate) fn put(&self, path: &Path, stat: FileStat, digest: Digest) {
        if path.to_str().is_some_and(|text| !text.contains('\n')) {
            self.lock().fresh.insert(path.to_owned(), (stat, digest));
        }
    }

    /// Forgets a file.
    pub(crate) fn forget(&self, path: &Path) {
        let mut state = self.lock();
        state.known.remove(path);
        state.fresh.remove(path);
    }

    /// Writes what is new, beside what other processes wrote meanwhile.
    pub(crate) fn save(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.fresh.is_empty() {
            return Ok(());
        }
        let mut all = read(&self.file);
        all.extend(state.fresh.drain());
        replace(&self.file, format(&all).as_bytes(), false)?;
        state.known = all;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn format(entries: &HashMap<PathBuf, (FileStat, Digest)>) -> String {
    let mut lines: Vec<_> = entries
        .iter()
        .filter_map(|(path, entry)| Some((path.to_str()?, entry)))
        .collect();
    lines.sort_by_key(|(path, _)| *path);
    let mut body = String::with_capacity(lines.len() * 200);
    for (path, (stat, digest)) in lines {
        let FileStat {
            size,
            mtime,
            ctime,
            inode,
        } = stat;
        let _ = writeln!(body, "{digest} {size} {mtime} {ctime} {inode} {path}");
    }
    format!("{HEADER} {}\n{body}", Digest::of(body.as_bytes()))
}

/// The memo in a file; empty if there is none, or it is damaged or too large.
fn read(file: &Path) -> HashMap<PathBuf, (FileStat, Digest)> {
    let text = read_text_at_most(file, MAX_MEMO);
    text.map_or_else(|_| HashMap::new(), |text| parse(&text))
}

fn parse(text: &str) -> HashMap<PathBuf, (FileStat, Digest)> {
    let Some((header, body)) = text.split_once('\n') else {
        return HashMap::new();
    };
    let sum = Digest::of(body.as_bytes());
    if header != format!("{HEADER} {sum}") {
        return HashMap::new();
    }
    body.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(PathBuf, (FileStat, Digest))> {
    let mut parts = line.splitn(6, ' ');
    let digest = parts.next()?.parse().ok()?;
    let stat = FileStat {
        size: parts.next()?.parse().ok()?,
        mtime: parts.next()?.parse().ok()?,
        ctime: parts.next()?.parse().ok()?,
        inode: parts.next()?.parse().ok()?,
    };
    Some((PathBuf::from(parts.next()?), (stat, digest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::{Duration, SystemTime};

    fn old_file(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("file with spaces");
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_young_file_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = old_file(dir.path(), "one");
        let memo = Memo::open(dir.path().join("memo"));
        let (digest, stat) = memo.digest(&path).unwrap();
        assert_eq!(digest, Digest::of(b"one"));
        assert_eq!(memo.get(&path, &stat), None);
    }

    #[test]
    fn a_file_from_the_future_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = old_file(dir.path(), "one");
        let later = SystemTime::now() + Duration::from_secs(3600);
        fs::File::open(&path).unwrap().set_modified(later).unwrap();
        let stat = FileStat::of_path(&path).unwrap();
        assert!(!stat.is_settled(nanos_now()));
    }

    #[test]
    fn the_memo_survives_saving_and_forgets_when_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = old_file(dir.path(), "one");
        let stat = FileStat::of_path(&path).unwrap();
        let file = dir.path().join("memo");
        let memo = Memo::open(file.clone());
        memo.put(&path, stat, Digest::of(b"one"));
        memo.save().unwrap();
        assert_eq!(
            Memo::open(file.clone()).get(&path, &stat),
            Some(Digest::of(b"one"))
        );
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(Memo::open(file).get(&path, &stat), None);
    }

    #[test]
    fn two_writers_keep_both_entries() {
        let dir = tempfile::tempdir().unwrap();
        let path = old_file(dir.path(), "one");
        let stat = FileStat::of_path(&path).unwrap();
        let file = dir.path().join("memo");
        let (first, second) = (Memo::open(file.clone()), Memo::open(file.clone()));
        first.put(Path::new("/a"), stat, Digest::of(b"a"));
        second.put(Path::new("/b"), stat, Digest::of(b"b"));
        first.save().unwrap();
        second.save().unwrap();
        let memo = Memo::open(file);
        assert!(memo.get(Path::new("/a"), &stat).is_some());
        assert!(memo.get(Path::new("/b"), &stat).is_some());
    }
}
