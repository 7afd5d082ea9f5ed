//! Digests remembered by what the file system says of a file.
//!
//! A file whose size, modification time, change time and inode are as they
//! were is taken to hold the same bytes. Files that changed less than two
//! seconds before they were hashed are not remembered: they could change again
//! within the clock's grain. The memo guards itself with a checksum, and says
//! when it was written: one that is damaged, or from the future, is forgotten,
//! which costs time and nothing else. After a clock was set back, a file could
//! otherwise change and look as it did when the time was the same before.

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
const HEADER: &str = "moreline memo 2";
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
    /// Nanoseconds since 1970; tests have clocks of their own.
    clock: fn() -> u64,
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
        Self::with_clock(file, nanos_now)
    }

    fn with_clock(file: PathBuf, clock: fn() -> u64) -> Self {
        let known = read(&file, clock());
        Self {
            file,
            clock,
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
        let now = (self.clock)();
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
        let now = (self.clock)();
        let mut all = read(&self.file, now);
        all.extend(state.fresh.drain());
        replace(&self.file, format(&all, now).as_bytes(), false)?;
        state.known = all;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn format(entries: &HashMap<PathBuf, (FileStat, Digest)>, now: u64) -> String {
    let mut lines: Vec<_> = entries
        .iter()
        .filter_map(|(path, entry)| Some((path.to_str()?, entry)))
        .collect();
    lines.sort_by_key(|(path, _)| *path);
    let mut body = String::with_capacity(lines.len() * 200);
    let _ = writeln!(body, "{now}");
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

/// The memo in a file; empty if there is none, or it is damaged, too large or
/// from the future.
fn read(file: &Path, now: u64) -> HashMap<PathBuf, (FileStat, Digest)> {
    let text = read_text_at_most(file, MAX_MEMO).ok();
    text.and_then(|text| parse(&text, now)).unwrap_or_default()
}

/// What is remembered was settled when the memo was written. As long as the
/// clock is not set back further than that, whatever changes later looks newer.
fn parse(text: &str, now: u64) -> Option<HashMap<PathBuf, (FileStat, Digest)>> {
    let (header, body) = text.split_once('\n')?;
    let sum = Digest::of(body.as_bytes());
    let (written, lines) = body.split_once('\n')?;
    let written: u64 = written.parse().ok()?;
    let sound = header == format!("{HEADER} {sum}") && written <= now.saturating_add(SETTLED);
    sound.then(|| lines.lines().filter_map(parse_line).collect())
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

    const HOUR: u64 = 3_600_000_000_000;

    fn an_hour_on() -> u64 {
        nanos_now() + HOUR
    }

    fn an_hour_back() -> u64 {
        nanos_now() - HOUR
    }

    /// A file that was settled when its digest was remembered, by a clock an
    /// hour fast.
    fn remembered_early(dir: &Path) -> (PathBuf, PathBuf, FileStat) {
        let path = old_file(dir, "one");
        let file = dir.join("memo");
        let memo = Memo::with_clock(file.clone(), an_hour_on);
        let (_, stat) = memo.digest(&path).unwrap();
        assert_eq!(memo.get(&path, &stat), Some(Digest::of(b"one")));
        memo.save().unwrap();
        (path, file, stat)
    }

    #[test]
    fn a_clock_set_back_makes_the_memo_forget() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file, stat) = remembered_early(dir.path());
        assert_eq!(Memo::open(file.clone()).get(&path, &stat), None);
        // What is written now does not bring the old back.
        let memo = Memo::open(file.clone());
        memo.put(Path::new("/own"), stat, Digest::of(b"own"));
        memo.save().unwrap();
        let memo = Memo::with_clock(file, an_hour_on);
        assert_eq!(memo.get(&path, &stat), None);
        assert!(memo.get(Path::new("/own"), &stat).is_some());
    }

    #[test]
    fn a_clock_set_forward_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file, stat) = remembered_early(dir.path());
        let memo = Memo::with_clock(file, || nanos_now() + 2 * HOUR);
        assert_eq!(memo.get(&path, &stat), Some(Digest::of(b"one")));
        // A change looks newer, however the clock runs.
        fs::write(&path, "two").unwrap();
        assert_eq!(memo.digest(&path).unwrap().0, Digest::of(b"two"));
    }

    #[test]
    fn with_a_clock_that_is_slow_nothing_looks_settled() {
        let dir = tempfile::tempdir().unwrap();
        let path = old_file(dir.path(), "one");
        let memo = Memo::with_clock(dir.path().join("memo"), an_hour_back);
        let (digest, stat) = memo.digest(&path).unwrap();
        assert_eq!(digest, Digest::of(b"one"));
        assert_eq!(memo.get(&path, &stat), None);
    }

    /// Hosts that share a cache have clocks that differ a little.
    #[test]
    fn a_memo_of_the_next_second_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = old_file(dir.path(), "one");
        let stat = FileStat::of_path(&path).unwrap();
        let file = dir.path().join("memo");
        let memo = Memo::with_clock(file.clone(), || nanos_now() + SETTLED / 2);
        memo.put(&path, stat, Digest::of(b"one"));
        memo.save().unwrap();
        assert!(Memo::open(file).get(&path, &stat).is_some());
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
