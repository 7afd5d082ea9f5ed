//! The job file: everything a worker needs to run one stage.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactType;
use crate::spec::StageSpec;

/// One stage to run, written to `job.json` by the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// [`crate::PROTOCOL_VERSION`] of the engine that wrote it.
    pub protocol: u32,
    /// The stage's name, for messages only.
    pub stage: String,
    /// What to do: all parameters resolved.
    pub spec: StageSpec,
    /// The inputs, in the order of [`crate::artifact::roles`] and, within a
    /// role, of the references.
    pub inputs: Vec<Input>,
    /// An existing empty directory that takes the outputs, each under its
    /// [`crate::artifact::OutputDecl::name`]. Never visible to others before
    /// the engine commits it.
    pub output_dir: PathBuf,
    /// An existing directory that survives a kill: checkpoints and journals.
    pub partial_dir: PathBuf,
    /// Steps whose models other stages take: a training that will not reach
    /// one says so at its start. Never part of a key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted_steps: Vec<u64>,
    /// What the machine gives; never part of a key.
    pub resources: Resources,
}

impl Job {
    /// The inputs of a role, in order.
    pub fn inputs_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Input> {
        self.inputs.iter().filter(move |input| input.role == role)
    }

    /// The first input of a role.
    pub fn input(&self, role: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.role == role)
    }
}

/// One input of a job: a file or directory the worker only reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The stage's field that refers to it, for example `data`.
    pub role: String,
    /// The name it was referred to by, for messages and metrics.
    pub name: String,
    /// What it is.
    pub artifact: ArtifactType,
    /// Where it lies. Models: a directory or a `.gguf` file; rows: a file.
    pub path: PathBuf,
    /// Which of its rows to take; everything for models.
    #[serde(default)]
    pub rows: RowRange,
}

/// A slice of a row file. Part of the stage's key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowRange {
    /// Rows to skip at the start.
    #[serde(default)]
    pub offset: u64,
    /// At most this many rows after the offset.
    #[serde(default)]
    pub limit: Option<u64>,
}

impl RowRange {
    /// This range with at most `limit` rows, if there is one.
    pub fn capped(self, limit: Option<u64>) -> Self {
        let limit = match (self.limit, limit) {
            (Some(own), Some(cap)) => Some(own.min(cap)),
            (own, cap) => own.or(cap),
        };
        Self { limit, ..self }
    }

    /// The slice of `rows` this range names.
    pub fn slice<'a, T>(&self, rows: &'a [T]) -> &'a [T] {
        let start = usize::try_from(self.offset).map_or(rows.len(), |o| o.min(rows.len()));
        let rest = &rows[start..];
        let take = self.limit.and_then(|l| usize::try_from(l).ok());
        &rest[..take.map_or(rest.len(), |l| l.min(rest.len()))]
    }
}

/// What this machine gives a stage. Recorded in provenance, never keyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Compute threads; all cores if absent.
    pub threads: Option<u32>,
    /// Largest number of tokens computed at once.
    pub token_budget: u32,
}

impl Resources {
    /// What a device gives where the site file says nothing. More tokens at once
    /// are not faster on a CPU, and take memory; a GPU wants them.
    pub fn on(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            threads: None,
            token_budget: if device == "cpu" { 3072 } else { 4096 },
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self::on("cpu")
    }
}
