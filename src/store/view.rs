//! Views: files of the store under their own names, as links into `objects`.
//!
//! A model is not copied for every stage that reads it. Links are symbolic:
//! the objects they lead to are read-only, and their bytes are checked before
//! a worker gets the view.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::durable::{make_dir, remove_dir, unique_name};
use super::error::{AtPath, StoreError};
use super::manifest::Manifest;
use super::{ObjectForm, RecordedOutput, Store};
use crate::digest::Digest;

impl Store {
    /// A readable path of an output named `name`: a file of that name, or a
    /// directory. Its bytes are not checked here.
    pub fn view(&self, name: &str, output: &RecordedOutput) -> Result<PathBuf, StoreError> {
        let dir = self.root.join("views").join(output.digest.to_string());
        match output.form {
            ObjectForm::File => {
                let link = dir.join(name);
                self.link(&link, &output.digest)?;
                Ok(link)
            }
            ObjectForm::Directory => {
                let manifest = self.manifest(&output.digest)?;
                if !self.is_whole(&dir, &manifest) {
                    self.build(&dir, &manifest)?;
                }
                Ok(dir)
            }
        }
    }

    /// A path for a worker to read: every byte is checked first.
    pub fn verified_view(
        &self,
        name: &str,
        output: &RecordedOutput,
    ) -> Result<PathBuf, StoreError> {
        self.verify(output)?;
        self.view(name, output)
    }

    fn is_whole(&self, dir: &Path, manifest: &Manifest) -> bool {
        let right = |path: &str, digest: &Digest| {
            fs::read_link(dir.join(path)).is_ok_and(|to| to == self.object_path(digest))
        };
        let mut files = manifest.entries().iter();
        files.all(|entry| right(&entry.path, &entry.digest))
    }

    fn build(&self, dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
        let temporary = self.root.join("views").join(unique_name(".tmp"));
        for entry in manifest.entries() {
            self.link(&temporary.join(&entry.path), &entry.digest)?;
        }
        remove_dir(dir)?;
        match fs::rename(&temporary, dir) {
            Err(_) if self.is_whole(dir, manifest) => remove_dir(&temporary),
            other => other.at("write", dir),
        }
    }

    /// Makes a link to an object, unless it is there.
    fn link(&self, link: &Path, digest: &Digest) -> Result<(), StoreError> {
        let target = self.object_path(digest);
        if fs::read_link(link).is_ok_and(|to| to == target) {
            return Ok(());
        }
        make_dir(link.parent().unwrap_or(&self.root))?;
        let _ = fs::remove_file(link);
        match symlink(&target, link) {
            Err(_) if fs::read_link(link).is_ok_and(|to| to == target) => Ok(()),
            other => other.at("write", link),
        }
    }
}
