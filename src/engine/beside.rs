//! Results beside the experiment file, for people: `outputs/NAME/STAGE/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use moreline_protocol::event::Metrics;
use moreline_protocol::spec::StageKind;
use serde::{Deserialize, Serialize};

use super::file_name;
use crate::plan::StageKey;
use crate::store::{ActionRecord, ObjectForm, Store, StoreError, make_dir, replace};

/// Largest file copied; larger ones are found by the path in `stage.json`.
const MAX_COPY: u64 = 64 << 20;

/// `stage.json`: what a stage gave, and where it lies.
#[derive(Serialize)]
struct StageFile<'a> {
    stage: &'a str,
    kind: StageKind,
    key: &'a StageKey,
    metrics: &'a Metrics,
    outputs: BTreeMap<&'a str, PathBuf>,
}

#[derive(Deserialize)]
struct KeyOnly {
    key: StageKey,
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
    let file = dir.join("stage.json");
    if is_current(&file, &record.key) {
        return Ok(());
    }
    make_dir(&dir)?;
    let _ = fs::remove_file(&file);
    let mut outputs = BTreeMap::new();
    for (name, output) in &record.outputs {
        outputs.insert(name.as_str(), store.view(name, output)?);
        if output.form == ObjectForm::File && output.bytes <= MAX_COPY {
            let copy = dir.join(name);
            let _ = fs::remove_file(&copy);
            store.materialise(output, &copy)?;
        }
    }
    let contents = StageFile {
        stage,
        kind: record.kind,
        key: &record.key,
        metrics: &record.metrics,
        outputs,
    };
    let bytes = serde_json::to_vec_pretty(&contents).unwrap_or_default();
    replace(&file, &bytes, false)
}

fn is_current(file: &Path, key: &StageKey) -> bool {
    fs::read(file)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<KeyOnly>(&bytes).ok())
        .is_some_and(|found| found.key == *key)
}
