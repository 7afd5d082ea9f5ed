//! The journal of finished calls.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
}

/// An append-only file, one entry a line, each synced before the next.
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
            let mut line = serde_json::to_vec(entry)?;
            line.push(b'\n');
            self.file.write_all(&line)?;
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
        entries.extend(serde_json::from_slice::<Entry>(&line).ok());
    }
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok(entries)
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
        }
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
