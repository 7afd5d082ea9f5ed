//! From a layer into the store.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;

use moreline_protocol::artifact::OutputName;

use super::problem::{LayerProblem, Missed};
use super::{FetchWatch, Layer, Layers, MAX_LISTS, MAX_RECORD, object_name, record_name};
use crate::digest::{Digest, DigestStream};
use crate::event::RunEvent;
use crate::plan::StageKey;
use crate::store::commit::MAX_DEPTH;
use crate::store::durable::unique_name;
use crate::store::{ActionRecord, AtPath, Manifest, ObjectForm, RecordedOutput, Store, StoreError};

/// Bytes asked for at once: what a slow connection brings in seconds.
const CHUNK: u64 = 8 << 20;
/// Most outputs a record may name: a training's, with a model every few steps.
const MAX_OUTPUTS: usize = 10_000;

/// What is looked for in the layers.
pub struct Sought<'a> {
    /// The key.
    pub key: &'a StageKey,
    /// The stage's name, for messages.
    pub stage: &'a str,
    /// Outputs that its result must have.
    pub outputs: &'a [&'a str],
    /// A directory for what is being fetched.
    pub scratch: &'a Path,
}

/// A file to fetch.
struct Wanted {
    digest: Digest,
    bytes: u64,
}

impl Layers {
    /// The record of a key in the first layer that has a sound one, and the
    /// layer's name. Objects are not looked at.
    pub fn peek(
        &self,
        sought: &Sought<'_>,
        watch: &FetchWatch<'_>,
    ) -> Option<(ActionRecord, String)> {
        self.alive().find_map(|layer| match layer.record(sought) {
            Ok(record) => Some((record?, layer.name.clone())),
            Err(problem) => {
                layer.tell(&problem, sought.stage, watch);
                None
            }
        })
    }
}

impl Layer {
    /// A key's record, if the layer has one that can be believed.
    fn record(&self, sought: &Sought<'_>) -> Result<Option<ActionRecord>, LayerProblem> {
        let name = record_name(sought.key);
        let bytes = match self.remote.read(&name, MAX_RECORD) {
            Ok(bytes) => bytes,
            Err(Missed::Absent) => return Ok(None),
            Err(missed) => return Err(missed.of(&format!("the record of the stage, {name},"))),
        };
        let sound = ActionRecord::parse(&bytes)
            .filter(|record| record.key == *sought.key && record.outputs.len() <= MAX_OUTPUTS)
            .filter(|record| {
                let mut names = sought.outputs.iter();
                names.all(|name| record.outputs.contains_key(*name))
                    && record
                        .outputs
                        .iter()
                        .all(|output| is_output(sought, output))
            });
        if sound.is_none() {
            self.set_broken(name);
            return Err(LayerProblem::Refused(
                "the record of the stage is damaged".into(),
            ));
        }
        Ok(sound)
    }
}

impl Layer {
    /// Tells a layer that does not answer from one whose object ends early: then a
    /// request for what lies behind its end fails too.
    fn told(&self, missed: Missed, name: &str, bytes: u64) -> Missed {
        let is_other = |there: u64| there != bytes;
        match missed {
            Missed::Failed(_) if self.remote.size(name).is_ok_and(is_other) => Missed::WrongSize,
            other => other,
        }
    }
}

impl Store {
    /// Fetches a key's result from the first layer that has it whole, and commits
    /// it. The stage's lock must be held. Problems are told and end nothing;
    /// without a result the stage has to be computed.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] if the run is stopped meanwhile.
    pub fn fetch_result(
        &self,
        layers: &Layers,
        sought: &Sought<'_>,
        watch: &FetchWatch<'_>,
    ) -> Result<Option<Box<ActionRecord>>, StoreError> {
        for layer in layers.alive() {
            match self.fetch_from(layer, sought, watch) {
                Ok(Some(record)) => return Ok(Some(Box::new(record))),
                Ok(None) => {}
                Err(problem) if problem.is_stop() => return Err(StoreError::Stopped),
                Err(problem) => layer.tell(&problem, sought.stage, watch),
            }
        }
        Ok(None)
    }

    fn fetch_from(
        &self,
        layer: &Layer,
        sought: &Sought<'_>,
        watch: &FetchWatch<'_>,
    ) -> Result<Option<ActionRecord>, LayerProblem> {
        let Some(record) = layer.record(sought)? else {
            return Ok(None);
        };
        let fetched = self.fetch_outputs(layer, &record, sought, watch);
        if let Err(LayerProblem::Refused(_)) = &fetched {
            // What it promises it does not have: to be replaced by what is whole.
            layer.set_broken(record_name(sought.key));
        }
        fetched?;
        self.commit(&record)?;
        Ok(Some(record))
    }

    fn fetch_outputs(
        &self,
        layer: &Layer,
        record: &ActionRecord,
        sought: &Sought<'_>,
        watch: &FetchWatch<'_>,
    ) -> Result<(), LayerProblem> {
        let mut wanted = Vec::new();
        let mut manifests = Vec::new();
        let mut room = MAX_LISTS;
        for output in record.outputs.values() {
            match output.form {
                ObjectForm::File => wanted.push(Wanted {
                    digest: output.digest,
                    bytes: output.bytes,
                }),
                ObjectForm::Directory => {
                    let (manifest, bytes) = self.manifest_of(layer, output, room)?;
                    room = room.saturating_sub(bytes.len() as u64);
                    wanted.extend(manifest.entries().iter().map(|entry| Wanted {
                        digest: entry.digest,
                        bytes: entry.size,
                    }));
                    manifests.push((output.digest, bytes));
                }
            }
        }
        let missing = self.missing(wanted)?;
        self.check_room(&missing)?;
        let total = sum(&missing);
        let mut progress = Progress {
            stage: sought.stage,
            layer: &layer.name,
            done: 0,
            total,
        };
        for file in &missing {
            let to = sought.scratch.join(unique_name("fetched"));
            download(layer, file, &to, &mut progress, watch)?;
            self.place(&to, &file.digest)?;
        }
        for (digest, bytes) in manifests {
            let to = sought.scratch.join(unique_name("fetched"));
            fs::write(&to, bytes).at("write", &to)?;
            self.place(&to, &digest)?;
        }
        Ok(())
    }

    /// A directory's manifest and its bytes, of which there may be so many, from
    /// here or from the layer.
    fn manifest_of(
        &self,
        layer: &Layer,
        output: &RecordedOutput,
        room: u64,
    ) -> Result<(Manifest, Vec<u8>), LayerProblem> {
        let name = object_name(&output.digest);
        let what = format!("the list of files {name}");
        if let Ok(manifest) = self.manifest(&output.digest)
            && manifest.digest() == output.digest
        {
            let bytes = manifest.to_bytes();
            return match bytes.len() as u64 > room {
                true => Err(Missed::TooLarge(room).of(&what)),
                false => Ok((manifest, bytes)),
            };
        }
        let bytes = layer.remote.read(&name, room);
        let bytes = bytes.map_err(|missed| missed.of(&what))?;
        if Digest::of(&bytes) != output.digest {
            layer.set_broken(name);
            return Err(LayerProblem::Refused(format!("{what} is damaged")));
        }
        match Manifest::parse(&bytes).filter(is_tree) {
            Some(manifest) if manifest.bytes() == output.bytes => Ok((manifest, bytes)),
            _ => Err(LayerProblem::Refused(format!("{what} makes no sense"))),
        }
    }

    /// The files that are not here, each once.
    fn missing(&self, wanted: Vec<Wanted>) -> Result<Vec<Wanted>, LayerProblem> {
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        for file in wanted {
            if !seen.insert(file.digest) {
                continue;
            }
            match self.check_object(&file.digest) {
                Ok(()) => {}
                Err(StoreError::Damaged { missing: true, .. }) => missing.push(file),
                Err(StoreError::Damaged { digest, .. }) => {
                    self.quarantine(&digest)?;
                    missing.push(file);
                }
                Err(error) => return Err(error.into()),
            }
        }
        missing.sort_by_key(|file: &Wanted| file.bytes);
        Ok(missing)
    }

    /// Sizes are a layer's word: one that says too much must not fill the disk.
    fn check_room(&self, missing: &[Wanted]) -> Result<(), LayerProblem> {
        let needed = sum(missing);
        let room = rustix::fs::statvfs(self.root());
        let free = room.map_or(u64::MAX, |room| room.f_bavail.saturating_mul(room.f_frsize));
        if needed <= free {
            return Ok(());
        }
        Err(LayerProblem::Refused(format!(
            "its result has {needed} bytes, and there is room for {free} (`moreline cache gc`)"
        )))
    }
}

fn sum(files: &[Wanted]) -> u64 {
    let sizes = files.iter().map(|file| file.bytes);
    sizes.fold(0, u64::saturating_add)
}

/// How far a stage's fetch is.
struct Progress<'a> {
    stage: &'a str,
    layer: &'a str,
    done: u64,
    total: u64,
}

fn download(
    layer: &Layer,
    file: &Wanted,
    to: &Path,
    progress: &mut Progress<'_>,
    watch: &FetchWatch<'_>,
) -> Result<(), LayerProblem> {
    let what = format!("object {}", file.digest.short());
    let name = object_name(&file.digest);
    let mut target = create(to)?;
    let mut stream = DigestStream::default();
    let mut start = 0;
    while start < file.bytes {
        if watch.cancel.load(Ordering::Relaxed) {
            return Err(StoreError::Stopped.into());
        }
        let end = file.bytes.min(start.saturating_add(CHUNK));
        let bytes = layer.remote.read_range(&name, start, end);
        let bytes = bytes.map_err(|missed| layer.told(missed, &name, file.bytes).of(&what))?;
        stream.update(&bytes);
        target.write_all(&bytes).at("write", to)?;
        start = end;
        progress.done += bytes.len() as u64;
        (watch.event)(&RunEvent::Fetching {
            what: progress.layer.to_owned(),
            file: progress.stage.to_owned(),
            done: progress.done,
            total: progress.total,
        });
    }
    if stream.finish().0 == file.digest {
        return Ok(());
    }
    layer.set_broken(name);
    let _ = fs::remove_file(to);
    Err(LayerProblem::Refused(format!("{what} is damaged in it")))
}

fn create(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .open(path)
        .at("write", path)
}

/// True for an output that a stage can have given.
fn is_output(sought: &Sought<'_>, (name, output): (&String, &RecordedOutput)) -> bool {
    let known = sought.outputs.contains(&name.as_str());
    let is_file = output.form == ObjectForm::File;
    (known || OutputName::parse_step(name).is_some()) && is_file == name.contains('.')
}

/// True if the paths form a tree: no file is where another needs a directory.
fn is_tree(manifest: &Manifest) -> bool {
    let paths: HashSet<&str> = manifest.entries().iter().map(|e| e.path.as_str()).collect();
    manifest.entries().iter().all(|entry| {
        let ends = entry.path.match_indices('/').map(|(at, _)| at);
        let mut depth = 0;
        let mut inner = ends.inspect(|_| depth += 1);
        let free = inner.all(|at| !paths.contains(&entry.path[..at]));
        free && depth <= MAX_DEPTH
    })
}
