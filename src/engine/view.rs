//! An experiment as its store shows it: what reports read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use moreline_protocol::spec::{StageKind, StageSpec};
use serde::Serialize;

use crate::plan::{StageKey, StageState};
use crate::store::ActionRecord;

/// Every stage of an experiment with its result, if there is one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunView {
    /// The experiment's name.
    pub experiment: String,
    /// Its title.
    pub title: Option<String>,
    /// Its file.
    pub path: PathBuf,
    /// True for a rehearsal.
    pub smoke: bool,
    /// Its stages, each after what it depends on.
    pub stages: Vec<StageView>,
}

/// One stage with its result, if there is one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageView {
    /// The stage's name, with its cell.
    pub name: String,
    /// The name without the cell.
    pub base: String,
    /// The matrix cell: variables and values.
    pub cell: Vec<(String, String)>,
    /// Its kind.
    pub kind: StageKind,
    /// Its parameters.
    pub spec: StageSpec,
    /// What a run would do with it.
    #[serde(flatten)]
    pub state: StageState,
    /// Its key, if every input's bytes are known.
    pub key: Option<StageKey>,
    /// Its record, if committed.
    pub record: Option<ActionRecord>,
    /// Readable paths of its outputs by name: files, or directories of files.
    /// The files are the store's own: never write to them.
    pub outputs: BTreeMap<String, PathBuf>,
}

impl RunView {
    /// The stage of that exact name.
    pub fn stage(&self, name: &str) -> Option<&StageView> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}
