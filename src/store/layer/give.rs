//! From the store to the layers that may be written: objects first, the record
//! last, so that whoever finds a record finds all of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::Ordering;

use super::problem::{LayerProblem, Missed};
use super::{FetchWatch, Layer, Layers, MAX_RECORD, object_name, record_name, warn};
use crate::digest::{Digest, DigestStream};
use crate::store::durable::read_at_most;
use crate::store::{ActionRecord, AtPath, ObjectForm, Store, StoreError};

/// Larger objects are sent in parts of this size, in bytes, or of more if there
/// would be too many.
const PART: u64 = 8 << 20;
/// Most parts: what S3 takes, and some room.
const MAX_PARTS: u64 = 9_000;
/// Largest object of a folder that is read back at once, in bytes.
const CHECKED_AT_ONCE: u64 = 8 << 20;

/// What became of a record.
enum Given {
    /// It is there.
    Whole,
    /// There is another of the same key, whose outputs of these names differ.
    Differs(Vec<String>),
}

impl From<Missed> for LayerProblem {
    fn from(missed: Missed) -> Self {
        missed.of("what is sent")
    }
}

impl Store {
    /// Gives a committed result to every layer that may be written. Problems are
    /// told and end nothing.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] if the run is stopped meanwhile; the result is
    /// committed here all the same.
    pub fn give_result(
        &self,
        layers: &Layers,
        record: &ActionRecord,
        watch: &FetchWatch<'_>,
    ) -> Result<(), StoreError> {
        for layer in layers.alive().filter(|layer| layer.writable) {
            match self.give_to(layer, record, watch) {
                Ok(Given::Whole) => {}
                Ok(Given::Differs(outputs)) => {
                    let message = format!(
                        "cache layer {} has another result of this stage, which differs in {}; \
                         it keeps that one, and this cache keeps its own",
                        layer.name,
                        outputs.join(", ")
                    );
                    warn(&record.stage, message, watch);
                }
                Err(problem) if problem.is_stop() => return Err(StoreError::Stopped),
                Err(problem) => layer.tell(&problem, &record.stage, watch),
            }
        }
        Ok(())
    }

    fn give_to(
        &self,
        layer: &Layer,
        record: &ActionRecord,
        watch: &FetchWatch<'_>,
    ) -> Result<Given, LayerProblem> {
        let mut files = BTreeSet::new();
        let mut manifests = BTreeSet::new();
        for output in record.outputs.values() {
            self.each_file(output, |digest| {
                files.insert(*digest);
                Ok(())
            })?;
            if output.form == ObjectForm::Directory {
                manifests.insert(output.digest);
            }
        }
        for digest in files.iter().chain(&manifests) {
            if watch.cancel.load(Ordering::Relaxed) {
                return Err(StoreError::Stopped.into());
            }
            self.give_object(layer, digest, watch)?;
        }
        give_record(layer, record)
    }

    fn give_object(
        &self,
        layer: &Layer,
        digest: &Digest,
        watch: &FetchWatch<'_>,
    ) -> Result<(), LayerProblem> {
        let name = object_name(digest);
        let path = self.object_path(digest);
        let bytes = std::fs::metadata(&path).at("read", &path)?.len();
        match layer.remote.size(&name) {
            Ok(there) if there == bytes && !layer.is_broken(&name) => return Ok(()),
            Ok(_) | Err(Missed::Absent) => {}
            Err(missed) => return Err(missed.into()),
        }
        if bytes <= PART {
            let contents = read_at_most(&path, PART).at("read", &path)?;
            if Digest::of(&contents) != *digest {
                return Err(damaged(*digest).into());
            }
            layer.remote.put(&name, contents)?;
        } else {
            self.give_parts(layer, digest, bytes, watch)?;
        }
        check_given(layer, digest, bytes)
    }

    fn give_parts(
        &self,
        layer: &Layer,
        digest: &Digest,
        bytes: u64,
        watch: &FetchWatch<'_>,
    ) -> Result<(), LayerProblem> {
        let path = self.object_path(digest);
        let mut file = File::open(&path).at("read", &path)?;
        let part = PART.max(bytes.div_ceil(MAX_PARTS));
        let mut stream = Some(DigestStream::default());
        let mut next = || {
            if watch.cancel.load(Ordering::Relaxed) {
                return Err(LayerProblem::from(StoreError::Stopped));
            }
            let mut buffer = Vec::new();
            let mut piece = (&mut file).take(part);
            piece.read_to_end(&mut buffer).at("read", &path)?;
            if !buffer.is_empty() {
                stream.iter_mut().for_each(|stream| stream.update(&buffer));
                return Ok(Some(buffer));
            }
            // Before the parts become one object: it must not be a damaged one.
            let found = stream.take().map(|stream| stream.finish().0);
            match found == Some(*digest) {
                true => Ok(None),
                false => Err(damaged(*digest).into()),
            }
        };
        layer.remote.put_parts(&object_name(digest), &mut next)
    }
}

/// Looks at what arrived: its size, and in a folder its bytes. A bucket checks
/// the bytes of every part on arrival.
fn check_given(layer: &Layer, digest: &Digest, bytes: u64) -> Result<(), LayerProblem> {
    let name = object_name(digest);
    let what = format!("object {}, just sent,", digest.short());
    let there = layer
        .remote
        .size(&name)
        .map_err(|missed| missed.of(&what))?;
    let mut stream = DigestStream::default();
    if layer.remote.is_folder {
        let mut start = 0;
        while start < bytes.min(there) {
            let end = bytes.min(start + CHECKED_AT_ONCE);
            let piece = layer.remote.read_range(&name, start, end);
            stream.update(&piece.map_err(|missed| missed.of(&what))?);
            start = end;
        }
    }
    if there != bytes || layer.remote.is_folder && stream.finish().0 != *digest {
        layer.set_broken(name);
        return Err(LayerProblem::Refused(format!("{what} arrived damaged")));
    }
    Ok(())
}

/// Writes the record, unless there is one.
fn give_record(layer: &Layer, record: &ActionRecord) -> Result<Given, LayerProblem> {
    let name = record_name(&record.key);
    let bytes = record.to_bytes();
    if layer.is_broken(&name) {
        layer.remote.put(&name, bytes)?;
        return Ok(Given::Whole);
    }
    match create(layer, &name, &bytes) {
        Ok(()) => Ok(Given::Whole),
        Err(Missed::Exists) => compare(layer, record, bytes),
        Err(missed) => Err(missed.into()),
    }
}

/// Some servers cannot write a file only if there is none: then looking first
/// has to do, and of two writers in the same moment the last one wins.
fn create(layer: &Layer, name: &str, bytes: &[u8]) -> Result<(), Missed> {
    match layer.remote.create(name, bytes.to_vec()) {
        Err(Missed::NoCreate) => match layer.remote.size(name) {
            Ok(_) => Err(Missed::Exists),
            Err(Missed::Absent) => layer.remote.put(name, bytes.to_vec()),
            Err(missed) => Err(missed),
        },
        other => other,
    }
}

fn compare(layer: &Layer, record: &ActionRecord, ours: Vec<u8>) -> Result<Given, LayerProblem> {
    let name = record_name(&record.key);
    let theirs = layer.remote.read(&name, MAX_RECORD);
    let theirs = match theirs {
        Ok(bytes) => ActionRecord::parse(&bytes).filter(|theirs| theirs.key == record.key),
        Err(Missed::TooLarge(_) | Missed::Absent) => None,
        Err(missed) => return Err(missed.into()),
    };
    let Some(theirs) = theirs else {
        layer.remote.put(&name, ours)?;
        return Ok(Given::Whole);
    };
    let differs = |(name, output): &(&String, &crate::store::RecordedOutput)| {
        let other = theirs.outputs.get(*name);
        other.is_none_or(|other| other.digest != output.digest)
    };
    let names = record.outputs.iter().filter(differs);
    let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
    Ok(match names.is_empty() {
        true => Given::Whole,
        false => Given::Differs(names),
    })
}

fn damaged(digest: Digest) -> StoreError {
    StoreError::Damaged {
        digest,
        missing: false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::AtomicBool;

    use super::super::LayerSecrets;
    use super::*;
    use crate::config::{CacheLayer, LayerMode};

    fn open(folder: &std::path::Path) -> Layers {
        let layer = CacheLayer {
            mode: LayerMode::ReadWrite,
            ..CacheLayer::at(folder.to_str().unwrap())
        };
        Layers::open(&[layer], &LayerSecrets::default(), &|why| panic!("{why}"))
    }

    #[test]
    fn a_large_object_goes_in_parts_and_a_damaged_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("cache"));
        store.prepare().unwrap();
        let bytes: Vec<u8> = (0..2 * PART + 5).map(|i| (i % 251) as u8).collect();
        let file = dir.path().join("cache/attempts/large");
        fs::write(&file, &bytes).unwrap();
        let (digest, _) = store.put_file(&file).unwrap();
        let watch = FetchWatch {
            event: &|_| {},
            cancel: &AtomicBool::new(false),
        };
        let shared = dir.path().join("shared");
        let layers = open(&shared);
        store
            .give_object(&layers.layers[0], &digest, &watch)
            .unwrap();
        assert!(fs::read(shared.join(object_name(&digest))).unwrap() == bytes);

        let object = store.object_path(&digest);
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&object, &bytes[1..]).unwrap();
        let other = dir.path().join("other");
        let layers = open(&other);
        let refused = store.give_object(&layers.layers[0], &digest, &watch);
        assert!(refused.is_err());
        assert!(!other.join(object_name(&digest)).exists());
    }
}
