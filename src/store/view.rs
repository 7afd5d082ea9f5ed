//! Views: files of the store under their own names, as links into `objects`.
//!
//! A model is not copied for every stage that reads it. Links are symbolic:
//! the objects they lead to are read-only, and their bytes are checked before
//! a worker gets the view.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::durable::{TEMPORARY, entries, make_dir, remove_dir, unique_name};
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

    /// Whether a directory shows the files of a manifest and nothing else: a
    /// worker that lists it would take what is more for a part of the model.
    fn is_whole(&self, dir: &Path, manifest: &Manifest) -> bool {
        let right = |path: &str, digest: &Digest| {
            fs::read_link(dir.join(path)).is_ok_and(|to| to == self.object_path(digest))
        };
        let mut files = manifest.entries().iter();
        files.all(|entry| right(&entry.path, &entry.digest))
            && count(dir).is_ok_and(|found| found == manifest.entries().len())
    }

    fn build(&self, dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
        let views = self.root.join("views");
        let [temporary, aside] = [TEMPORARY; 2].map(|name| views.join(unique_name(name)));
        for entry in manifest.entries() {
            self.link(&temporary.join(&entry.path), &entry.digest)?;
        }
        if fs::rename(&temporary, dir).is_ok() {
            return Ok(());
        }
        // Another process may have made it meanwhile, and use it already: only
        // what is damaged is taken away.
        if self.is_whole(dir, manifest) {
            return remove_dir(&temporary);
        }
        let _ = fs::rename(dir, &aside);
        let made = fs::rename(&temporary, dir);
        let _ = remove_dir(&aside).or_else(|_| fs::remove_file(&aside).at("remove", &aside));
        match made {
            Err(_) if self.is_whole(dir, manifest) => remove_dir(&temporary),
            other => other.at("write", dir),
        }
    }

    /// Makes a link to an object, unless it is there. Others that follow it see
    /// the old one or the new one.
    fn link(&self, link: &Path, digest: &Digest) -> Result<(), StoreError> {
        let target = self.object_path(digest);
        if fs::read_link(link).is_ok_and(|to| to == target) {
            return Ok(());
        }
        let dir = link.parent().unwrap_or(&self.root);
        make_dir(dir)?;
        let temporary = dir.join(unique_name(TEMPORARY));
        symlink(&target, &temporary).at("write", &temporary)?;
        let placed = fs::rename(&temporary, link);
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        placed.at("write", link)
    }
}

/// Number of entries under a directory that are no directories.
fn count(dir: &Path) -> Result<usize, StoreError> {
    let mut found = 0;
    for path in entries(dir)? {
        let kind = fs::symlink_metadata(&path).at("read", &path)?.file_type();
        found += if kind.is_dir() { count(&path)? } else { 1 };
    }
    Ok(found)
}
