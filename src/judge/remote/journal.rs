//! The journal of finished calls.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::budget::Usage;
use super::prompt::Call;
use crate::judge::JudgeError;
use crate::judge::lines::Lines;

/// One finished call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Which call.
    #[serde(flatten)]
    pub(crate) call: Call,
    /// Digest of what was asked: an answer to another question is not used.
    pub(crate) request: String,
    /// The reply's text.
    pub(crate) reply: String,
    /// Tokens used, prompt and reply.
    pub(crate) tokens: u64,
    /// The same apart, if the endpoint told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
}

/// An append-only file, one entry a line under a checksum, each synced before
/// the next.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or begins a journal and gives what it holds. The last line is cut
    /// off if a kill tore it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Entry>), JudgeError> {
        let failed = |action| {
            move |source| JudgeError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = options.open(path).map_err(failed("open"))?;
        let entries = recover(&mut file).map_err(failed("read"))?;
        let path = path.to_owned();
        Ok((Self { path, file }, entries))
    }

    /// Adds an entry; it is on disk when this returns.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), JudgeError> {
        let mut write = || -> io::Result<()> {
            self.file.write_all(&seal(entry)?)?;
            self.file.sync_data()
        };
        write().map_err(|source| JudgeError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}

/// The entries of the whole lines; a torn last line is removed, and lines that
/// are no entries are passed over, so that their calls are made again.
fn recover(file: &mut File) -> io::Result<Vec<Entry>> {
    let mut lines = Lines::new(&*file);
    let mut entries = Vec::new();
    let mut whole = 0;
    while let Some(line) = lines.next() {
        let line = line?;
        if lines.is_torn() {
            break;
        }
        whole = lines.bytes();
        entries.extend(open_sealed(&line));
    }
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok(entries)
}

/// An entry's line: the CRC-32C of its JSON in hexadecimal digits, and the JSON.
fn seal(entry: &Entry) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(entry)?;
    let sum = crc32c::crc32c(json.as_bytes());
    Ok(format!("{sum:08x} {json}\n").into_bytes())
}

/// The entry of a line whose bytes are as they were written.
fn open_sealed(line: &[u8]) -> Option<Entry> {
    let (sum, json) = std::str::from_utf8(line).ok()?.trim_end().split_once(' ')?;
    let sound = sum == format!("{:08x}", crc32c::crc32c(json.as_bytes()));
    sound.then(|| serde_json::from_str(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64) -> Entry {
        Entry {
            call: Call { id, a_first: true },
            request: "0".into(),
            reply: "line\n[[A]]".into(),
            tokens: 7,
            usage: None,
        }
    }

    #[test]
    fn a_call_whose_line_changed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        (1..4).for_each(|id| journal.append(&entry(id)).unwrap());
        let whole = std::fs::read_to_string(&path).unwrap();
        let second = whole.find("\"id\":2").unwrap();
        let flipped = whole.replacen("[[A]]", "[[C]]", 1);
        std::fs::write(&path, flipped).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, [entry(2), entry(3)]);
        let mut bytes = whole.into_bytes();
        bytes[second + 5] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, [entry(1), entry(3)]);
    }

    #[test]
    fn a_torn_last_line_is_cut_and_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, found) = Journal::open(&path).unwrap();
        assert!(found.is_empty());
        journal.append(&entry(1)).unwrap();
        journal.append(&entry(2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for torn in 1..whole.len() / 2 {
            std::fs::write(&path, &whole[..whole.len() - torn]).unwrap();
            let (mut journal, found) = Journal::open(&path).unwrap();
            assert_eq!(found, [entry(1)]);
            journal.append(&entry(3)).unwrap();
            let (_, found) = Journal::open(&path).unwrap();
            assert_eq!(found, [entry(1), entry(3)]);
        }
    }
}
