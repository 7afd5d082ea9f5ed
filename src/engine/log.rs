//! The log of a stage: what its worker says on standard error, and its
//! messages, in `runs/ID/logs/STAGE.log`. The worker writes into the file itself,
//! so that its last words are there whatever becomes of the engine. The size is
//! bounded all the same: what a full log holds goes to `STAGE.log.1`, in place of
//! what was there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::unique_name;

/// Bytes after which a log is full.
const MAX_BYTES: u64 = 8 << 20;
/// Bytes read at once by whoever follows a log.
const CHUNK: u64 = 1 << 20;

/// A log that is being written. One that cannot be written is no reason for a
/// stage to fail.
pub(super) struct StageLog {
    path: PathBuf,
    max_bytes: u64,
}

impl StageLog {
    /// The log in a file, which is written on if it is there already.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            max_bytes: MAX_BYTES,
        }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, to write at its end wherever that is by then.
    pub(super) fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
    }

    /// Adds a line.
    pub(super) fn line(&self, line: &str) {
        let file = self.open();
        let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        self.bound();
    }

    /// Moves what a full log holds aside. To be called now and then while a
    /// worker writes: what it writes in the moment of the move may be lost.
    pub(super) fn bound(&self) {
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > self.max_bytes) {
            let aside = self.path.with_file_name(unique_name(".tmp"));
            if self.move_to(&aside).is_err() {
                let _ = fs::remove_file(&aside);
            }
        }
    }

    /// The file stays the same one, for its writer has it open.
    fn move_to(&self, aside: &Path) -> io::Result<()> {
        fs::copy(&self.path, aside)?;
        OpenOptions::new()
            .write(true)
            .open(&self.path)?
            .set_len(0)?;
        fs::rename(aside, full(&self.path))
    }
}

/// Where what a full log held is kept.
fn full(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Reads a log, and what is added to it.
#[derive(Debug)]
pub struct LogTail {
    path: PathBuf,
    /// How much of the log was read.
    position: u64,
    /// Which file held what was moved aside when that was last looked at.
    seen: Option<(u64, i64, i64)>,
    /// What was moved aside, as long as not all of it was read.
    aside: Option<File>,
}

impl LogTail {
    /// Starts with the oldest that is kept.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            position: 0,
            seen: None,
            aside: None,
        }
    }

    /// The next bytes, some at a time; none if there are no more for now.
    ///
    /// # Errors
    /// The log is there and cannot be read.
    pub fn more(&mut self) -> io::Result<Vec<u8>> {
        self.look_aside()?;
        if let Some(file) = &mut self.aside {
            let bytes = chunk(file)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            self.aside = None;
        }
        let Some(mut file) = open(&self.path)? else {
            return Ok(Vec::new());
        };
        file.seek(SeekFrom::Start(self.position))?;
        let bytes = chunk(&mut file)?;
        self.position += bytes.len() as u64;
        Ok(bytes)
    }

    /// If the log was moved aside since, goes on where it was read to.
    fn look_aside(&mut self) -> io::Result<()> {
        let Some(mut file) = open(&full(&self.path))? else {
            return Ok(());
        };
        let metadata = file.metadata()?;
        let now = Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
        if self.seen != now {
            self.seen = now;
            file.seek(SeekFrom::Start(std::mem::take(&mut self.position)))?;
            self.aside = Some(file);
        }
        Ok(())
    }
}

fn chunk(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(CHUNK).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(max_bytes: u64) -> (tempfile::TempDir, StageLog) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = StageLog::new(dir.path().join("rm.log"));
        log.max_bytes = max_bytes;
        (dir, log)
    }

    fn rest(tail: &mut LogTail) -> String {
        let mut text = Vec::new();
        loop {
            let bytes = tail.more().unwrap();
            if bytes.is_empty() {
                return String::from_utf8(text).unwrap();
            }
            text.extend(bytes);
        }
    }

    #[test]
    fn a_log_stays_within_its_bound_and_keeps_the_end() {
        let (dir, log) = log(20);
        let mut worker = log.open().unwrap();
        for number in 10..100 {
            log.line(&format!("line {number}"));
            worker.write_all(b"said\n").unwrap();
            log.bound();
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(log.path()) <= 20 && size(&full(log.path())) <= 40);
        let text = rest(&mut LogTail::new(log.path().to_owned()));
        assert!(text.ends_with("line 98\nsaid\nline 99\nsaid\n"), "{text}");
        let files = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 2);
    }

    #[test]
    fn a_follower_misses_nothing_when_a_log_is_moved_aside() {
        let (_dir, log) = log(20);
        let mut tail = LogTail::new(log.path().to_owned());
        assert_eq!(rest(&mut tail), "");
        let mut seen = String::new();
        for number in 0..50 {
            log.line(&format!("line {number}"));
            // It looks less often than lines come.
            if number % 2 == 0 {
                seen += &rest(&mut tail);
            }
        }
        seen += &rest(&mut tail);
        let all: String = (0..50).map(|number| format!("line {number}\n")).collect();
        assert_eq!(seen, all);
    }
}
