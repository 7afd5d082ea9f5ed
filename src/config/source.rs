//! The texts an experiment is made of, and places in them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::redact;

/// Index of a [`Source`] in its [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SourceId(usize);

/// A range of bytes of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct At {
    /// Which source.
    pub(super) source: SourceId,
    /// Which bytes.
    pub(super) span: Range<usize>,
}

/// A file, or the text of one `--set`.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The name shown in messages: the path as given, or `--set`.
    pub(super) name: String,
    /// The text.
    pub(super) text: Arc<str>,
    /// Where relative paths in it start from.
    pub(super) directory: PathBuf,
}

/// Every text that was read for one experiment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text.
    pub(super) fn add(&mut self, source: Source) -> SourceId {
        self.0.push(source);
        SourceId(self.0.len() - 1)
    }

    /// Overwrites what is written at a place: it may be a secret, and is not
    /// to be shown. Places stay where they are.
    pub(super) fn hide(&mut self, at: &At) {
        let source = &mut self.0[at.source.0];
        source.text = redact::starred(&source.text, std::slice::from_ref(&at.span)).into();
    }

    /// The text of an id.
    pub(super) fn get(&self, id: SourceId) -> &Source {
        &self.0[id.0]
    }
}

impl At {
    /// A place in `source`.
    pub(super) fn new(source: SourceId, span: Range<usize>) -> Self {
        Self { source, span }
    }
}

/// `path` from `directory` (absolute, without symbolic links): absolute paths
/// stand, leading `..` are resolved.
pub(super) fn absolute(directory: &Path, path: &str) -> PathBuf {
    let mut result = directory.to_path_buf();
    let mut rest = Path::new(path).components().peekable();
    while let Some(component) = rest.peek() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                result.pop();
            }
            _ => break,
        }
        rest.next();
    }
    for component in rest {
        result.push(component);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_at_the_directory() {
        let base = Path::new("/a/b");
        assert_eq!(absolute(base, "c/d.json"), Path::new("/a/b/c/d.json"));
        assert_eq!(absolute(base, "../d.json"), Path::new("/a/d.json"));
        assert_eq!(absolute(base, "./x/../d"), Path::new("/a/b/x/../d"));
        assert_eq!(absolute(base, "/d.json"), Path::new("/d.json"));
    }
}
