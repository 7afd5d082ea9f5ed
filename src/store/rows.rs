//! Digests of the rows of a file, kept after the file has changed:
//! `rows/DIGEST`, by the digest of the file.
//!
//! A list is the line `moreline rows 1`, the digests of the rows, 16 bytes each
//! and sorted, and the SHA-256 of all that. A row's digest is over its JSON value,
//! so that white space and the order of members do not count.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use moreline_formats::rows::visit_rows;
use serde_json::Value;

use super::Store;
use super::durable::{make_dir, unique_name};
use super::error::{AtPath, StoreError};
use crate::digest::{Canonical, Digest, DigestStream};

const HEADER: &[u8] = b"moreline rows 1\n";
/// Bytes of a row's digest.
const WIDTH: usize = 16;
/// Most rows of a file whose digests are held: a quarter of a GiB.
const MAX_ROWS: usize = 1 << 24;

/// The first half of a row's SHA-256.
pub(crate) type RowDigest = [u8; WIDTH];

/// The digests of a file's rows, sorted.
pub(crate) struct RowDigests(Box<dyn Iterator<Item = io::Result<RowDigest>>>);

impl Iterator for RowDigests {
    type Item = io::Result<RowDigest>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl RowDigests {
    /// Those of a file's present rows; nothing if it cannot be cut into rows, or
    /// has too many of them.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        let sorted = sorted(path, &|| true)?;
        Some(Self(Box::new(sorted.into_iter().map(Ok))))
    }
}

/// The digests of a file's rows, unless `go_on` says no on the way.
fn sorted(path: &Path, go_on: &dyn Fn() -> bool) -> Option<Vec<RowDigest>> {
    let mut rows = Vec::new();
    let mut whole = true;
    let visited = visit_rows(path, |text| {
        whole = go_on() && rows.len() < MAX_ROWS;
        rows.push(row_digest(text));
        whole
    });
    visited.ok().filter(|_| whole)?;
    rows.sort_unstable();
    Some(rows)
}

/// The digest of a row's value; of its text if that is no JSON.
fn row_digest(text: &[u8]) -> RowDigest {
    let mut canonical = Canonical::new("moreline row 1");
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => canonical.json(&value),
        Err(_) => canonical.digest(&Digest::of(text)),
    };
    let whole = canonical.finish();
    let mut half = RowDigest::default();
    half.copy_from_slice(&whole.bytes()[..WIDTH]);
    half
}

impl Store {
    fn rows_path(&self, file: &Digest) -> PathBuf {
        self.root().join("rows").join(file.to_string())
    }

    /// Keeps the digests of the rows of a file whose digest is known, unless they
    /// are there already. Those of a file that cannot be cut into rows, or has
    /// more than 16 million, are not kept; nor if `go_on` says no on the way.
    pub(crate) fn remember_rows(
        &self,
        path: &Path,
        file: &Digest,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), StoreError> {
        let to = self.rows_path(file);
        if to.exists() {
            return Ok(());
        }
        let Some(rows) = sorted(path, go_on) else {
            return Ok(());
        };
        // The file may have changed since it was hashed, or while it was read.
        if self.digest_file(path)? != *file {
            return Ok(());
        }
        let dir = to.parent().unwrap_or(self.root());
        make_dir(dir)?;
        let temporary = dir.join(unique_name(".tmp"));
        let written = write(&temporary, &rows)
            .and_then(|()| fs::rename(&temporary, &to))
            .at("write", &to);
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// The digests kept of a file's rows, read as they are asked for.
    pub(crate) fn kept_rows(&self, file: &Digest) -> Option<RowDigests> {
        let reader = Reader::open(&self.rows_path(file)).ok()?;
        Some(RowDigests(Box::new(reader)))
    }

    /// The file of a sound object, if it is there.
    pub(crate) fn object_file(&self, digest: &Digest) -> Option<PathBuf> {
        self.check_object(digest).ok()?;
        Some(self.object_path(digest))
    }
}

fn write(path: &Path, rows: &[RowDigest]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create_new(path)?);
    let mut sum = DigestStream::default();
    let parts = std::iter::once(HEADER).chain(rows.iter().map(RowDigest::as_slice));
    for part in parts {
        sum.update(part);
        file.write_all(part)?;
    }
    file.write_all(sum.finish().0.bytes())?;
    file.flush()
}

/// Reads a list; its last item is an error if a byte of it changed.
struct Reader {
    file: BufReader<File>,
    left: u64,
    sum: DigestStream,
    ended: bool,
}

impl Reader {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let frame = (HEADER.len() + Digest::BYTES) as u64;
        let size = file.get_ref().metadata()?.len();
        let mut header = vec![0; HEADER.len()];
        file.read_exact(&mut header)?;
        let rows = size
            .checked_sub(frame)
            .filter(|rows| rows % WIDTH as u64 == 0);
        let Some(rows) = rows.filter(|_| header == HEADER) else {
            return Err(damaged());
        };
        let mut sum = DigestStream::default();
        sum.update(&header);
        Ok(Self {
            file,
            left: rows / WIDTH as u64,
            sum,
            ended: false,
        })
    }

    fn end(&mut self) -> io::Result<()> {
        let mut found = [0; Digest::BYTES];
        self.file.read_exact(&mut found)?;
        let sum = std::mem::take(&mut self.sum).finish().0;
        match *sum.bytes() == found {
            true => Ok(()),
            false => Err(damaged()),
        }
    }
}

impl Iterator for Reader {
    type Item = io::Result<RowDigest>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.left == 0 {
            self.ended = true;
            return self.end().err().map(Err);
        }
        self.left -= 1;
        let mut row = RowDigest::default();
        let read = self.file.read_exact(&mut row);
        self.ended = read.is_err();
        self.sum.update(&row);
        Some(read.map(|()| row))
    }
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the list of row digests is damaged",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(digests: RowDigests) -> io::Result<Vec<RowDigest>> {
        digests.collect()
    }

    #[test]
    fn rows_are_their_values() {
        let dir = tempfile::tempdir().unwrap();
        let lines = dir.path().join("a.jsonl");
        fs::write(&lines, "{\"a\": 1, \"b\": 2}\n{\"c\":3}\n{\"c\":3}\n").unwrap();
        let array = dir.path().join("a.json");
        fs::write(&array, "[{\"c\":3},\n {\"c\":3}, {\"b\":2,\"a\":1}]").unwrap();
        let of = |path: &Path| rows(RowDigests::of_file(path).unwrap()).unwrap();
        assert_eq!(of(&lines), of(&array));
        assert_eq!(of(&lines).len(), 3);
        fs::write(&array, "[{\"c\":4}, {\"c\":3}, {\"b\":2,\"a\":1}]").unwrap();
        assert_ne!(of(&lines), of(&array));
        fs::write(&array, "[{\"c\":4}").unwrap();
        assert!(RowDigests::of_file(&array).is_none());
    }

    #[test]
    fn a_kept_list_outlives_its_file_and_a_damaged_one_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("cache"));
        let path = dir.path().join("a.jsonl");
        fs::write(&path, "1\n2\n3\n").unwrap();
        let file = Digest::of(b"1\n2\n3\n");
        let before = rows(RowDigests::of_file(&path).unwrap()).unwrap();
        store.remember_rows(&path, &file, &|| false).unwrap();
        assert!(store.kept_rows(&file).is_none());
        store
            .remember_rows(&path, &Digest::of(b"other"), &|| true)
            .unwrap();
        assert!(store.kept_rows(&Digest::of(b"other")).is_none());
        store.remember_rows(&path, &file, &|| true).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(rows(store.kept_rows(&file).unwrap()).unwrap(), before);
        let list = store.rows_path(&file);
        let mut bytes = fs::read(&list).unwrap();
        bytes[HEADER.len() + 3] ^= 1;
        fs::write(&list, &bytes).unwrap();
        assert!(rows(store.kept_rows(&file).unwrap()).is_err());
        fs::write(&list, &bytes[..bytes.len() - 5]).unwrap();
        assert!(store.kept_rows(&file).is_none());
    }
}
