//! Taking a finished stage's outputs into the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::durable::{entries, replace};
use super::error::{AtPath, StoreError};
use super::manifest::{Manifest, ManifestEntry, is_safe};
use super::{ActionRecord, ObjectForm, RecordedOutput, Store};
use crate::digest::Digest;

/// Deepest directory taken into the store.
pub(super) const MAX_DEPTH: usize = 16;

impl Store {
    /// Moves the outputs of these names of a finished stage from the directory it
    /// wrote them to into the store. They stay invisible until a record names
    /// them. Everything is checked before anything is moved.
    pub fn take_outputs(
        &self,
        dir: &Path,
        names: &[String],
    ) -> Result<BTreeMap<String, RecordedOutput>, StoreError> {
        for name in names {
            check_output(name, &dir.join(name))?;
        }
        let take = |name: &String| Ok((name.clone(), self.take(&dir.join(name))?));
        names.iter().map(take).collect()
    }

    /// Makes a result visible. Its outputs must be in the store already.
    pub fn commit(&self, record: &ActionRecord) -> Result<(), StoreError> {
        replace(&self.record_path(&record.key), &record.to_bytes(), true)
    }

    fn take(&self, path: &Path) -> Result<RecordedOutput, StoreError> {
        if !path.is_dir() {
            let (digest, bytes) = self.put_file(path)?;
            let form = ObjectForm::File;
            return Ok(RecordedOutput {
                form,
                digest,
                bytes,
            });
        }
        let mut files = Vec::new();
        for file in walk(path, 0)? {
            let (digest, size) = self.put_file(&file)?;
            let path = relative(path, &file)?;
            files.push(ManifestEntry { path, size, digest });
        }
        let manifest = Manifest::new(files);
        Ok(RecordedOutput {
            form: ObjectForm::Directory,
            digest: self.put_manifest(&manifest)?,
            bytes: manifest.bytes(),
        })
    }
}

impl Store {
    /// The digest of a directory outside the store, as if it were an output:
    /// that of the manifest of the files `wanted` accepts, by relative path.
    pub fn digest_files(
        &self,
        files: impl IntoIterator<Item = (String, PathBuf)>,
    ) -> Result<Digest, StoreError> {
        let mut entries = Vec::new();
        for (path, file) in files {
            let digest = self.digest_file(&file)?;
            let size = fs::metadata(&file).at("read", &file)?.len();
            entries.push(ManifestEntry { path, size, digest });
        }
        Ok(Manifest::new(entries).digest())
    }
}

fn check_output(name: &str, path: &Path) -> Result<(), StoreError> {
    let problem = |text: &str| StoreError::Output {
        name: name.to_owned(),
        problem: text.to_owned(),
    };
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Err(problem("the stage ended without writing it"));
    };
    if name.contains('.') {
        return match metadata.is_file() {
            true => Ok(()),
            false => Err(problem("it is not a plain file")),
        };
    }
    if !metadata.is_dir() {
        return Err(problem("it is not a directory"));
    }
    let files = walk(path, 0)?;
    if files.is_empty() {
        return Err(problem("the directory is empty"));
    }
    files
        .iter()
        .try_for_each(|file| relative(path, file).map(drop))
}

/// The plain files under a directory; anything else is refused.
fn walk(dir: &Path, depth: usize) -> Result<Vec<PathBuf>, StoreError> {
    let refuse = |path: &Path, problem: &str| StoreError::Output {
        name: path.display().to_string(),
        problem: problem.to_owned(),
    };
    if depth > MAX_DEPTH {
        return Err(refuse(dir, "directories are nested too deeply"));
    }
    let mut files = Vec::new();
    for path in entries(dir)? {
        let kind = fs::symlink_metadata(&path).at("read", &path)?.file_type();
        if kind.is_dir() {
            files.extend(walk(&path, depth + 1)?);
        } else if kind.is_file() {
            files.push(path);
        } else {
            return Err(refuse(&path, "only plain files and directories are taken"));
        }
    }
    Ok(files)
}

fn relative(dir: &Path, file: &Path) -> Result<String, StoreError> {
    let path = file.strip_prefix(dir).ok().and_then(Path::to_str);
    match path {
        Some(path) if is_safe(path) => Ok(path.to_owned()),
        _ => Err(StoreError::Output {
            name: file.display().to_string(),
            problem: "its name is not valid UTF-8".into(),
        }),
    }
}
