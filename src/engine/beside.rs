//! Results beside the experiment file, for people: `outputs/NAME/STAGE/`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use moreline_protocol::event::Metrics;
use moreline_protocol::spec::StageKind;
use serde::{Deserialize, Serialize};

use super::file_name;
use crate::plan::StageKey;
use crate::store::{
    ActionRecord, AtPath, ObjectForm, RecordedOutput, Store, StoreError, entries, make_dir,
    read_at_most, replace, unique_name,
};

/// Largest file copied; larger ones are found by the path in `stage.json`.
const MAX_COPY: u64 = 64 << 20;

const STAGE_FILE: &str = "stage.json";
/// Largest one read, in bytes.
const MAX_STAGE_FILE: u64 = 64 << 20;
const TEMPORARY: &str = ".tmp";
/// A copy takes no longer than this.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// `stage.json`: what a stage gave, and where it lies.
#[derive(Serialize)]
struct StageFile<'a> {
    stage: &'a str,
    kind: StageKind,
    key: &'a StageKey,
    run: &'a str,
    metrics: &'a Metrics,
    outputs: BTreeMap<&'a str, PathBuf>,
}

/// What tells one result from another: the same key made anew, after damage,
/// need not give the same bytes on every device.
#[derive(Deserialize)]
struct Made {
    key: StageKey,
    run: String,
}

/// Copies a stage's records to the outputs beside the experiment, unless they
/// are there already. Copies that were changed are made good.
pub(super) fn write(
    dir: &Path,
    stage: &str,
    record: &ActionRecord,
    store: &Store,
) -> Result<(), StoreError> {
    let dir = dir.join(file_name(stage));
    let file = dir.join(STAGE_FILE);
    if holds(&dir, record) && is_sound(&dir, record, store) {
        return Ok(());
    }
    make_dir(&dir)?;
    let lock = lock(&dir);
    // Another run may have written it while this one waited.
    if holds(&dir, record) && is_sound(&dir, record, store) {
        return Ok(());
    }
    let _ = fs::remove_file(&file);
    remove_leftovers(&dir, lock.is_some());
    let mut outputs = BTreeMap::new();
    for (name, output) in &record.outputs {
        outputs.insert(name.as_str(), store.view(name, output)?);
        if is_copied(output) {
            place(store, output, &dir.join(name))?;
        }
    }
    let contents = StageFile {
        stage,
        kind: record.kind,
        key: &record.key,
        run: &record.provenance.run,
        metrics: &record.metrics,
        outputs,
    };
    let bytes = serde_json::to_vec_pretty(&contents).unwrap_or_default();
    replace(&file, &bytes, false)
}

/// Copies a file in one step: another run may be doing the same.
fn place(store: &Store, output: &RecordedOutput, to: &Path) -> Result<(), StoreError> {
    let temporary = to.with_file_name(unique_name(TEMPORARY));
    let placed = store
        .materialise(output, &temporary)
        .and_then(|()| fs::rename(&temporary, to).at("write", to));
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed
}

/// True if a stage's directory is what a record stands for, as far as can be
/// told without reading the copies.
pub(super) fn holds(dir: &Path, record: &ActionRecord) -> bool {
    read_at_most(&dir.join(STAGE_FILE), MAX_STAGE_FILE)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Made>(&bytes).ok())
        .is_some_and(|found| found.key == record.key && found.run == record.provenance.run)
        && copied(record).all(|(name, output)| {
            let copy = fs::symlink_metadata(dir.join(name));
            copy.is_ok_and(|copy| copy.is_file() && copy.len() == output.bytes)
        })
}

/// True if the copies hold the record's bytes. Those that look as they did when
/// they were last read are not read again.
fn is_sound(dir: &Path, record: &ActionRecord, store: &Store) -> bool {
    copied(record).all(|(name, output)| {
        let digest = store.digest_file(&dir.join(name));
        digest.is_ok_and(|digest| digest == output.digest)
    })
}

fn copied(record: &ActionRecord) -> impl Iterator<Item = (&String, &RecordedOutput)> {
    let outputs = record.outputs.iter();
    outputs.filter(|(_, output)| is_copied(output))
}

fn is_copied(output: &RecordedOutput) -> bool {
    output.form == ObjectForm::File && output.bytes <= MAX_COPY
}

/// Waits until no other run writes into a directory; none where its file system
/// cannot lock directories. The lock ends with its process.
fn lock(dir: &Path) -> Option<File> {
    let dir = File::open(dir).ok()?;
    dir.lock().ok()?;
    Some(dir)
}

/// Removes what killed processes left half copied. Without a lock, what is young
/// may be another run's that is at work.
fn remove_leftovers(dir: &Path, locked: bool) {
    let is_old = |path: &Path| {
        let modified = fs::symlink_metadata(path).and_then(|file| file.modified());
        modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LEFTOVER_AGE))
    };
    for path in entries(dir).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(TEMPORARY) && (locked || is_old(&path)) {
            let _ = fs::remove_file(&path);
        }
    }
}
