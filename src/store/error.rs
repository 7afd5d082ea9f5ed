//! Errors of the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("failed to {doing} {}: {source}{}", .path.display(), way_out(.doing, .source))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An object's bytes are not what its name says, or it is gone.
    #[error("failed to use object {}: its bytes are {}; the stage that made it must run again", .digest.short(), if *.missing { "gone" } else { "damaged" })]
    Damaged {
        /// The file's or manifest's digest.
        digest: Digest,
        /// True if there is no such file.
        missing: bool,
    },
    /// A stage did not write what it should have.
    #[error("failed to take output `{name}`: {problem}")]
    Output {
        /// The output, or the path inside it.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process uses the cache.
    #[error("failed to clean the cache {}: a run is using it; try again when it is over", .0.display())]
    InUse(PathBuf),
    /// Waiting for a lock, or fetching, was stopped.
    #[error("failed to go on: stopped; run again to continue, what is committed is kept")]
    Stopped,
    /// A model could not be fetched.
    #[error("failed to fetch {what}: {problem}{}{hint}", if .hint.is_empty() { "" } else { "; " })]
    Fetch {
        /// The model.
        what: String,
        /// What went wrong.
        problem: String,
        /// What to do about it; may be empty.
        hint: String,
    },
    /// A directory that should be a cache is none.
    #[error("failed to clean {}: it is no cache of moreline (its CACHEDIR.TAG is missing); name the right one as `cache` in the site file", .0.display())]
    NoCache(PathBuf),
    /// A target that must be empty is not.
    #[error("failed to write into {}: it is not empty; name a new or empty directory", .0.display())]
    NotEmpty(PathBuf),
}

impl StoreError {
    /// The object that is damaged or gone, if that is the problem.
    pub fn damaged(&self) -> Option<Digest> {
        match self {
            Self::Damaged { digest, .. } => Some(*digest),
            _ => None,
        }
    }
}

/// What file systems without locks say.
const NO_LOCK: rustix::io::Errno = rustix::io::Errno::NOLCK;
const NO_LOCKS: &str = "; its file system has no locks: set `cache` in the site file to a \
                        directory on one that has";

fn way_out(doing: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if doing.starts_with("read") => {
            "; give yourself the right to read it"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room (`moreline cache gc`) or set `cache` in the site file to another disk, \
             then run again: everything committed is kept"
        }
        io::ErrorKind::Unsupported if doing == "lock" => NO_LOCKS,
        _ if error.raw_os_error() == Some(NO_LOCK.raw_os_error()) => NO_LOCKS,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; make it writable, or set `cache` in the site file to a directory that is"
        }
        _ => "",
    }
}

/// Adds what was tried, and with which path, to a system error.
pub(crate) trait AtPath<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_fits_what_was_tried() {
        let hint = |doing, kind: io::ErrorKind| {
            let result: io::Result<()> = Err(kind.into());
            let error = result.at(doing, Path::new("/x")).expect_err("an error");
            error.to_string()
        };
        let reading = hint("read", io::ErrorKind::PermissionDenied);
        assert!(reading.ends_with("; give yourself the right to read it"));
        let writing = hint("write", io::ErrorKind::PermissionDenied);
        assert!(writing.contains("set `cache` in the site file"));
        let full = hint("write", io::ErrorKind::StorageFull);
        assert!(full.contains("everything committed is kept"));
        assert!(!hint("read", io::ErrorKind::NotFound).contains("cache"));
        let unlocked = io::Error::from_raw_os_error(NO_LOCK.raw_os_error());
        let unlocked: io::Result<()> = Err(unlocked);
        let message = unlocked.at("lock", Path::new("/x")).expect_err("an error");
        assert!(message.to_string().contains("has no locks"));
    }
}
