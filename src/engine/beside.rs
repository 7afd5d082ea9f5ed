//! Results beside the experiment file, for people: `outputs/NAME/STAGE/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use moreline_protocol::event::Metrics;
use moreline_protocol::spec::StageKind;
use serde::{Deserialize, Serialize};

use super::file_name;
use crate::plan::StageKey;
use crate::store::{
    ActionRecord, AtPath, ObjectForm, RecordedOutput, Store, StoreError, make_dir, replace,
    unique_name,
};

/// Largest file copied; larger ones are found by the path in `stage.json`.
const MAX_COPY: u64 = 64 << 20;

const STAGE_FILE: &str = "stage.json";

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
/// are there already.
pub(super) fn write(
    dir: &Path,
    stage: &str,
    record: &ActionRecord,
    store: &Store,
) -> Result<(), StoreError> {
    let dir = dir.join(file_name(stage));
    let file = dir.join(STAGE_FILE);
    if holds(&dir, record) {
        return Ok(());
    }
    make_dir(&dir)?;
    let _ = fs::remove_file(&file);
    let mut outputs = BTreeMap::new();
    for (name, output) in &record.outputs {
        outputs.insert(name.as_str(), store.view(name, output)?);
        if output.form == ObjectForm::File && output.bytes <= MAX_COPY {
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
    let temporary = to.with_file_name(unique_name(".tmp"));
    let placed = store
        .materialise(output, &temporary)
        .and_then(|()| fs::rename(&temporary, to).at("write", to));
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed
}

/// True if a stage's directory is what a record stands for.
pub(super) fn holds(dir: &Path, record: &ActionRecord) -> bool {
    fs::read(dir.join(STAGE_FILE))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Made>(&bytes).ok())
        .is_some_and(|found| found.key == record.key && found.run == record.provenance.run)
}
