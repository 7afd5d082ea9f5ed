//! Opening a row file: gzip, size bounds, and files that are something else.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::error::RowError;

/// Most bytes read from one file, after decompression.
const MAX_BYTES: u64 = 16 << 30;
const BUFFER: usize = 1 << 16;

/// A row file, decompressed, its byte-order mark skipped.
pub(crate) struct Source {
    /// The text.
    pub(crate) reader: BufReader<Bounded>,
    /// True if the file is compressed.
    pub(crate) gzip: bool,
}

/// Opens `path` and refuses what cannot be rows of JSON.
pub(crate) fn open(what: &'static str, path: &Path) -> Result<Source, RowError> {
    open_bounded(what, path, MAX_BYTES)
}

pub(crate) fn open_bounded(
    what: &'static str,
    path: &Path,
    max_bytes: u64,
) -> Result<Source, RowError> {
    let refuse = |reason: &str, hint: &str| Err(RowError::whole(what, path, reason.into(), hint));
    let unreadable = |error: &io::Error, gzip| unreadable(what, path, error, gzip);
    let file = File::open(path).map_err(|error| unreadable(&error, false))?;
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return refuse("it is a directory", "name the file of rows inside it");
    }
    let mut file = BufReader::with_capacity(BUFFER, file);
    let head = file.fill_buf().map_err(|error| unreadable(&error, false))?;
    if head.is_empty() {
        return refuse(
            "it is empty",
            "give it a JSON array or one JSON object per line",
        );
    }
    let gzip = head.starts_with(&[0x1f, 0x8b]);
    let plain: Box<dyn Read> = if gzip {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let bounded = Bounded {
        inner: plain,
        left: max_bytes,
    };
    let mut reader = BufReader::with_capacity(BUFFER, bounded);
    let head = reader
        .fill_buf()
        .map_err(|error| unreadable(&error, gzip))?;
    if let Some(kind) = binary_kind(head) {
        return refuse(
            &format!("it is not text but {kind}"),
            "convert it to a JSON array or JSON Lines, gzipped if you like",
        );
    }
    if head.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(Source { reader, gzip })
}

/// The error for a failed read.
pub(crate) fn unreadable(
    what: &'static str,
    path: &Path,
    error: &io::Error,
    gzip: bool,
) -> RowError {
    let (reason, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            "no such file".to_owned(),
            "check the path; paths in an experiment file are relative to that file".to_owned(),
        ),
        io::ErrorKind::FileTooLarge => (
            error.to_string(),
            "split the file; a gzip that unpacks to so much is probably damaged".to_owned(),
        ),
        _ if gzip => (
            format!("the gzip stream is cut short or damaged ({error})"),
            "fetch the file again, or unpack it with `gzip -d` to see how far it goes".to_owned(),
        ),
        _ => (error.to_string(), String::new()),
    };
    RowError::whole(what, path, reason, hint)
}

/// What a file that is no text seems to be.
fn binary_kind(head: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 7] = [
        (b"PAR1", "a Parquet file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"ARROW1", "an Arrow file"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
        (b"BZh", "bzip2-compressed"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ];
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    known
        .map(|(_, kind)| *kind)
        .or_else(|| head.contains(&0).then_some("binary"))
}

/// A reader that fails, rather than ends, after `left` bytes.
pub(crate) struct Bounded {
    inner: Box<dyn Read>,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "it holds more text than the 16 GiB a row file may",
                ));
            }
        }
        Ok(read)
    }
}
