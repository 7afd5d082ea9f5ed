//! Copying outputs out of the store.

use std::fs;
use std::path::{Path, PathBuf};

use super::durable::{TEMPORARY, entries, make_dir, remove_dir, unique_name};
use super::error::{AtPath, StoreError};
use super::{ObjectForm, RecordedOutput, Store};

impl Store {
    /// Copies an output to a new file, or a new directory, checking every
    /// byte. Copies are reflinks where the file system can, never hard links.
    pub fn materialise(&self, output: &RecordedOutput, to: &Path) -> Result<(), StoreError> {
        match output.form {
            ObjectForm::File => self.copy_object(&output.digest, to),
            ObjectForm::Directory => self.copy_tree(output, to).map(drop),
        }
    }

    /// Copies an output into a directory that is absent or empty: a directory's
    /// files, or the one file under `name`. Returns the files written. Where there
    /// is no such directory yet, a kill leaves no part of one: the files are copied
    /// beside it, and renamed.
    pub fn export(
        &self,
        name: &str,
        output: &RecordedOutput,
        to: &Path,
    ) -> Result<Vec<PathBuf>, StoreError> {
        if fs::symlink_metadata(to).is_ok_and(|found| !found.is_dir()) || !entries(to)?.is_empty() {
            return Err(StoreError::NotEmpty(to.to_owned()));
        }
        let Some(aside) = aside(to) else {
            return self.copy_into(name, output, to);
        };
        let copied = self.copy_into(name, output, &aside).and_then(|files| {
            fs::rename(&aside, to).at("rename", &aside)?;
            Ok(files)
        });
        match copied {
            Ok(files) => Ok(files
                .iter()
                .map(|file| to.join(file.strip_prefix(&aside).unwrap_or(file)))
                .collect()),
            Err(error) => {
                let _ = remove_dir(&aside);
                Err(error)
            }
        }
    }

    fn copy_into(
        &self,
        name: &str,
        output: &RecordedOutput,
        to: &Path,
    ) -> Result<Vec<PathBuf>, StoreError> {
        make_dir(to)?;
        match output.form {
            ObjectForm::File => {
                let file = to.join(name);
                self.copy_object(&output.digest, &file)?;
                Ok(vec![file])
            }
            ObjectForm::Directory => self.copy_tree(output, to),
        }
    }

    fn copy_tree(&self, output: &RecordedOutput, to: &Path) -> Result<Vec<PathBuf>, StoreError> {
        let manifest = self.manifest(&output.digest)?;
        make_dir(to)?;
        let mut files = Vec::with_capacity(manifest.entries().len());
        for entry in manifest.entries() {
            let file = to.join(&entry.path);
            let dir = file.parent().unwrap_or(to);
            fs::create_dir_all(dir).at("make directory", dir)?;
            self.copy_object(&entry.digest, &file)?;
            files.push(file);
        }
        Ok(files)
    }
}

/// A new folder beside `to`, for it to be made in; none if `to` is there already.
fn aside(to: &Path) -> Option<PathBuf> {
    if fs::symlink_metadata(to).is_ok() || to.file_name().is_none() {
        return None;
    }
    let parent = to.parent()?;
    if !parent.as_os_str().is_empty() {
        make_dir(parent).ok()?;
    }
    Some(parent.join(unique_name(TEMPORARY)))
}
