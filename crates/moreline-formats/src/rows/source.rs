//! Opening a row file: gzip, zstd, size bounds, and files that are something else.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::error::RowError;

/// Most bytes read from one file, after decompression.
pub(crate) const MAX_BYTES: u64 = 16 << 30;
/// What a Parquet file begins and ends with.
pub(crate) const PARQUET: &[u8] = b"PAR1";
const BUFFER: usize = 1 << 16;
/// Largest window a zstd stream may ask for, as a power of two: 128 MiB, what
/// `zstd` itself takes without being told to.
const ZSTD_WINDOW: u32 = 27;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// The kind of stream a file begins.
    fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(&[0x1f, 0x8b]) {
            Some(Self::Gzip)
        } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn unpack(self, file: BufReader<File>) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
        })
    }
}

/// A row file, decompressed, its byte-order mark skipped.
pub(crate) struct Source {
    /// The text.
    pub(crate) reader: BufReader<Bounded>,
    /// How the file is compressed, if it is.
    pub(crate) packing: Option<Packing>,
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
    let unreadable = |error: &io::Error, packing| unreadable(what, path, error, packing);
    let file = File::open(path).map_err(|error| unreadable(&error, None))?;
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return refuse("it is a directory", "name the file of rows inside it");
    }
    let mut file = BufReader::with_capacity(BUFFER, file);
    let head = file.fill_buf().map_err(|error| unreadable(&error, None))?;
    if head.is_empty() {
        return refuse(
            "it is empty",
            "give it a JSON array or one JSON object per line",
        );
    }
    let packing = Packing::of(head);
    let plain = match packing {
        Some(packing) => packing.unpack(file),
        None => Ok(Box::new(file) as Box<dyn Read>),
    };
    let plain = plain.map_err(|error| unreadable(&error, packing))?;
    let bounded = Bounded {
        inner: plain,
        left: max_bytes,
    };
    let mut reader = BufReader::with_capacity(BUFFER, bounded);
    let head = reader
        .fill_buf()
        .map_err(|error| unreadable(&error, packing))?;
    if let Some(kind) = binary_kind(head) {
        let hint = match head.starts_with(PARQUET) {
            true => "turn it into rows with an `import` stage or `moreline import`",
            false => "convert it to a JSON array or JSON Lines, gzipped if you like",
        };
        return refuse(&format!("it is not text but {kind}"), hint);
    }
    if head.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(Source { reader, packing })
}

/// The error for a failed read.
pub(crate) fn unreadable(
    what: &'static str,
    path: &Path,
    error: &io::Error,
    packing: Option<Packing>,
) -> RowError {
    let (reason, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            "no such file".to_owned(),
            "check the path; paths in an experiment file are relative to that file".to_owned(),
        ),
        io::ErrorKind::FileTooLarge => (
            error.to_string(),
            match packing {
                Some(packing) => format!(
                    "split the file; a {} that unpacks to so much is probably damaged",
                    packing.name()
                ),
                None => "split the file".to_owned(),
            },
        ),
        _ => match packing {
            Some(packing) => (
                format!(
                    "the {} stream is cut short or damaged ({error})",
                    packing.name()
                ),
                format!(
                    "fetch the file again, or unpack it with `{} -d` to see how far it goes",
                    packing.name()
                ),
            ),
            None => (error.to_string(), String::new()),
        },
    };
    RowError::whole(what, path, reason, hint)
}

/// What a file that is no text seems to be.
fn binary_kind(head: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 6] = [
        (PARQUET, "a Parquet file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"ARROW1", "an Arrow file"),
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
