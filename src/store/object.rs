//! Objects: files named by the digest of their bytes.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::durable::{
    TEMPORARY, make_dir_durably, read_at_most, rename, sync_dir, sync_file, unique_name,
};
use super::error::{AtPath, StoreError};
use super::manifest::Manifest;
use super::memo::FileStat;
use super::{ObjectForm, RecordedOutput, Store};
use crate::digest::{Digest, DigestStream};

/// Largest manifest read, in bytes: some million files.
pub(super) const MAX_MANIFEST: u64 = 256 << 20;

impl Store {
    /// Where an object lies, present or not.
    pub(super) fn object_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("objects").join(&name[..2]).join(&name[2..])
    }

    /// Moves a file into the store, waiting until it is on disk. The file must
    /// be on the store's file system and have no writer left.
    pub(super) fn put_file(&self, from: &Path) -> Result<(Digest, u64), StoreError> {
        let mut file = File::open(from).at("read", from)?;
        let (digest, bytes) = Digest::of_reader(&mut file).at("read", from)?;
        if file.metadata().at("read", from)?.nlink() > 1 {
            let copy = from.with_file_name(unique_name(".copy"));
            fs::copy(from, &copy).at("copy", from)?;
            rename(&copy, from)?;
        }
        self.place(from, &digest)?;
        Ok((digest, bytes))
    }

    /// Moves a file whose digest is known into the store, waiting until it is on
    /// disk.
    pub(super) fn place(&self, from: &Path, digest: &Digest) -> Result<(), StoreError> {
        sync_file(&File::open(from).at("read", from)?, from)?;
        fs::set_permissions(from, Permissions::from_mode(0o444)).at("protect", from)?;
        let to = self.object_path(digest);
        let dir = to.parent().unwrap_or(&self.root);
        self.make_shelf(dir)?;
        rename(from, &to)?;
        sync_dir(dir)?;
        self.memo.put(&to, FileStat::of_path(&to)?, *digest);
        Ok(())
    }

    /// Makes a directory of objects. That it is there does not mean that it is
    /// on disk: whoever made it may be about to wait for that.
    fn make_shelf(&self, dir: &Path) -> Result<(), StoreError> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if !shelves.contains(dir) || !dir.exists() {
            make_dir_durably(dir)?;
            shelves.insert(dir.to_owned());
        }
        Ok(())
    }

    /// Writes a manifest as an object.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> Result<Digest, StoreError> {
        let dir = self.root.join("objects");
        let temporary = dir.join(unique_name(TEMPORARY));
        let put = fs::write(&temporary, manifest.to_bytes())
            .at("write", &temporary)
            .and_then(|()| self.put_file(&temporary));
        if put.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        Ok(put?.0)
    }

    /// Whether an object's bytes are what its name says: looked up in the memo
    /// if the file looks as it did, else hashed. Writes nothing.
    pub(super) fn check_object(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.object_path(digest);
        match FileStat::of_path(&path) {
            Ok(stat) if self.memo.get(&path, &stat) == Some(*digest) => Ok(()),
            Ok(_) => self.verify_object(digest),
            Err(error) => Err(absent(error, *digest)),
        }
    }

    /// Hashes an object.
    pub(super) fn verify_object(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.object_path(digest);
        let before = FileStat::of_path(&path).map_err(|error| absent(error, *digest))?;
        let (found, _) = Digest::of_file(&path).at("read", &path)?;
        if found != *digest {
            return Err(damaged(*digest));
        }
        if FileStat::of_path(&path)? == before {
            self.memo.put(&path, before, found);
        }
        Ok(())
    }

    /// Reads a directory's manifest; its bytes are checked.
    pub fn manifest(&self, digest: &Digest) -> Result<Manifest, StoreError> {
        let path = self.object_path(digest);
        let bytes = read_at_most(&path, MAX_MANIFEST)
            .at("read", &path)
            .map_err(|error| absent(error, *digest))?;
        if Digest::of(&bytes) != *digest {
            return Err(damaged(*digest));
        }
        Manifest::parse(&bytes).ok_or_else(|| damaged(*digest))
    }

    /// Checks an output without reading files that look as they did.
    pub fn check(&self, output: &RecordedOutput) -> Result<(), StoreError> {
        self.each_file(output, |digest| self.check_object(digest))
    }

    /// Hashes every byte of an output.
    pub fn verify(&self, output: &RecordedOutput) -> Result<(), StoreError> {
        self.each_file(output, |digest| self.verify_object(digest))
    }

    /// Calls `visit` with the digests of the files an output consists of.
    pub(super) fn each_file(
        &self,
        output: &RecordedOutput,
        mut visit: impl FnMut(&Digest) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match output.form {
            ObjectForm::File => visit(&output.digest),
            ObjectForm::Directory => {
                let manifest = self.manifest(&output.digest)?;
                let mut files = manifest.entries().iter();
                files.try_for_each(|entry| visit(&entry.digest))
            }
        }
    }

    /// Sets a damaged object aside, so that nothing uses it. One that another
    /// process made good meanwhile is put back.
    pub fn quarantine(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.object_path(digest);
        self.memo.forget(&path);
        let aside = self
            .root
            .join("quarantine")
            .join(unique_name(&digest.to_string()));
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.at("set aside", &path)?,
        }
        match Digest::of_file(&aside) {
            Ok((found, _)) if found == *digest => rename(&aside, &path),
            _ => Ok(()),
        }
    }

    /// Copies an object to a new file, by reflink where the file system can,
    /// and checks the copy's bytes. A damaged one is set aside, so that the next
    /// run makes it anew.
    pub(super) fn copy_object(&self, digest: &Digest, to: &Path) -> Result<(), StoreError> {
        let path = self.object_path(digest);
        let mut source = File::open(&path)
            .at("read", &path)
            .map_err(|error| absent(error, *digest))?;
        let mut target = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(to)
            .at("write", to)?;
        let found = if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
            Digest::of_reader(&mut target).at("read", to)?.0
        } else {
            copy_hashed(&mut source, &mut target).at("write", to)?
        };
        if found == *digest {
            return Ok(());
        }
        let _ = fs::remove_file(to);
        let _ = self.quarantine(digest);
        Err(damaged(*digest))
    }
}

fn copy_hashed(source: &mut File, target: &mut File) -> io::Result<Digest> {
    let mut stream = DigestStream::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(stream.finish().0),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        stream.update(&buffer[..count]);
        target.write_all(&buffer[..count])?;
    }
}

fn damaged(digest: Digest) -> StoreError {
    StoreError::Damaged {
        digest,
        missing: false,
    }
}

/// A file that is not there is a lost object; other errors stay what they are.
fn absent(error: StoreError, digest: Digest) -> StoreError {
    match error {
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            StoreError::Damaged {
                digest,
                missing: true,
            }
        }
        other => other,
    }
}
