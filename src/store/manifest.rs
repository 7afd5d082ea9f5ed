//! Directories as manifests: the sorted list of their files.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const FORMAT: &str = "moreline directory 1";

/// A directory's files. Empty directories are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    entries: Vec<ManifestEntry>,
}

/// One file of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// Relative path with `/` between its parts.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub digest: Digest,
}

impl Manifest {
    /// The manifest of these files, sorted by path.
    pub fn new(mut entries: Vec<ManifestEntry>) -> Self {
        entries.sort();
        Self {
            format: FORMAT.into(),
            entries,
        }
    }

    /// The files, sorted by path.
    pub fn entries(&self) -> &[ManifestEntry] {
        &self.entries
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.entries
            .iter()
            .fold(0, |sum, entry| sum.saturating_add(entry.size))
    }

    /// Canonical JSON: members in this order, no spaces.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The directory's digest: that of its canonical JSON.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Reads a manifest back; nothing if the bytes are none, or hold a path
    /// that would leave the directory.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(bytes).ok()?;
        let safe = manifest.format == FORMAT
            && manifest.entries.iter().all(|e| is_safe(&e.path))
            && manifest.entries.is_sorted_by(|a, b| a.path < b.path);
        safe.then_some(manifest)
    }
}

/// True for a relative path that stays where it is put.
pub(super) fn is_safe(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && !path.split('/').any(|part| part.is_empty() || part == ".")
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> ManifestEntry {
        ManifestEntry {
            path: path.into(),
            size: 2,
            digest: Digest::of(b"ab"),
        }
    }

    #[test]
    fn order_of_files_does_not_matter() {
        let one = Manifest::new(vec![entry("b"), entry("a/c")]);
        let other = Manifest::new(vec![entry("a/c"), entry("b")]);
        assert_eq!(one.digest(), other.digest());
        assert_eq!(Manifest::parse(&one.to_bytes()), Some(one));
    }

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for path in ["../x", "/x", "a/../b", "a//b", "", "./a", "a/"] {
            let manifest = Manifest::new(vec![entry(path)]);
            assert_eq!(Manifest::parse(&manifest.to_bytes()), None, "{path}");
        }
    }

    #[test]
    fn the_encoding_is_pinned() {
        let digest = Manifest::new(vec![entry("a")]).digest();
        let json = format!(
            r#"{{"format":"moreline directory 1","entries":[{{"path":"a","size":2,"digest":"{}"}}]}}"#,
            Digest::of(b"ab")
        );
        assert_eq!(digest, Digest::of(json.as_bytes()));
    }
}
