//! An append-only journal of finished records, each under a checksum: a killed
//! stage repeats none, and repeats those whose bytes have changed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::WorkerError;

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    index: usize,
    record: T,
}

/// The journal of a stage that needs only one.
pub const FILE: &str = "journal.jsonl";

/// Finished records by index, on disk and in memory.
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: File,
    done: BTreeMap<usize, T>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens or creates `partial/journal.jsonl`. A torn last line, as a kill
    /// leaves it, is cut off; lines that are not as they were written are passed
    /// over, so that their records are computed again.
    ///
    /// # Errors
    /// The system's.
    pub fn open(partial: &Path) -> Result<Self, WorkerError> {
        Self::open_file(&partial.join(FILE))
    }

    /// The same with the journal at `path`.
    ///
    /// # Errors
    /// The system's.
    pub fn open_file(path: &Path) -> Result<Self, WorkerError> {
        let path = path.to_path_buf();
        let failed = |e| WorkerError::io("open", &path, e);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let mut done = BTreeMap::new();
        let mut whole = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let Some(body) = line.strip_suffix(b"\n") else {
                break;
            };
            if let Some(entry) = open_sealed::<T>(body) {
                done.insert(entry.index, entry.record);
            }
            whole += line.len() as u64;
        }
        file.set_len(whole).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { path, file, done })
    }

    /// Whether every record of `indices` is finished.
    pub fn has_all(&self, mut indices: impl Iterator<Item = usize>) -> bool {
        indices.all(|index| self.done.contains_key(&index))
    }

    /// Number of finished records.
    pub fn len(&self) -> usize {
        self.done.len()
    }

    /// Whether nothing is finished.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Adds finished records and syncs.
    ///
    /// # Errors
    /// The system's.
    pub fn append(&mut self, records: Vec<(usize, T)>) -> Result<(), WorkerError> {
        let mut bytes = Vec::new();
        for (index, record) in records {
            let entry = Entry { index, record };
            let sealed = seal(&entry);
            bytes.extend(sealed.map_err(|e| WorkerError::io("write", &self.path, e.into()))?);
            self.done.insert(index, entry.record);
        }
        let written = self
            .file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data());
        written.map_err(|e| WorkerError::io("write", &self.path, e))
    }

    /// All records in the order of their indices.
    pub fn into_records(self) -> Vec<T> {
        self.done.into_values().collect()
    }
}

/// An entry's line: the CRC-32C of its JSON in hexadecimal digits, and the JSON.
fn seal<T: Serialize>(entry: &Entry<T>) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_string(entry)?;
    let sum = crc32c::crc32c(json.as_bytes());
    Ok(format!("{sum:08x} {json}\n").into_bytes())
}

/// The entry of a line whose bytes are as they were written.
fn open_sealed<T: DeserializeOwned>(line: &[u8]) -> Option<Entry<T>> {
    let (sum, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let sound = sum == format!("{:08x}", crc32c::crc32c(json.as_bytes()));
    sound.then(|| serde_json::from_str(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_costs_its_own_record_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::<String>::open(dir.path()).unwrap();
        let records = ["first", "second", "third"].map(String::from);
        journal
            .append(records.into_iter().enumerate().collect())
            .unwrap();
        let path = dir.path().join("journal.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("second", "sekond")).unwrap();
        let mut journal = Journal::<String>::open(dir.path()).unwrap();
        assert!(journal.has_all([0, 2].into_iter()) && !journal.has_all(1..2));
        journal.append(vec![(1, "second".into())]).unwrap();
        let journal = Journal::<String>::open(dir.path()).unwrap();
        assert_eq!(journal.into_records(), ["first", "second", "third"]);
    }

    #[test]
    fn a_torn_line_is_cut_and_the_rest_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::<String>::open(dir.path()).unwrap();
        journal
            .append(vec![(1, "b".into()), (0, "a".into())])
            .unwrap();
        drop(journal);
        let path = dir.path().join("journal.jsonl");
        let mut bytes = std::fs::read(&path).unwrap();
        let whole = bytes.len();
        bytes.extend(b"{\"index\":2,\"rec");
        std::fs::write(&path, bytes).unwrap();
        let mut journal = Journal::<String>::open(dir.path()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len() as usize, whole);
        assert!(journal.has_all(0..2) && !journal.has_all(0..3));
        journal.append(vec![(2, "c".into())]).unwrap();
        let journal = Journal::<String>::open(dir.path()).unwrap();
        assert_eq!(journal.into_records(), ["a", "b", "c"]);
    }
}
