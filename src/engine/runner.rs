//! The part of running a stage that knows what records mean.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use moreline_protocol::event::{Event, Metrics};
use moreline_protocol::job::Job;
use serde::{Deserialize, Serialize};

use crate::config::{Experiment, Place, RowsDecl};
use crate::store::ApiCost;

/// Why a stage failed, or would fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageFailure {
    /// The stage, if the problem is one stage's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Completes `failed to ...`: file, record and cause.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where the problem is, if that is in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Box<Place>>,
}

impl StageFailure {
    /// A failure with a message and no hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            stage: None,
            message: message.into(),
            hint: None,
            place: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same at a place, if it is known.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = place.map(Box::new);
        self
    }

    /// The same for a stage.
    #[must_use]
    pub fn of_stage(mut self, stage: impl Into<String>) -> Self {
        self.stage = Some(stage.into());
        self
    }
}

impl fmt::Display for StageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stage) = &self.stage {
            write!(f, "stage `{stage}`: failed to ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StageFailure {}

/// What a stage that the engine ran itself gave, besides its outputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finished {
    /// Its metrics.
    pub metrics: Metrics,
    /// What it asked of an API cost. Recorded, never keyed or compared.
    pub cost: Option<ApiCost>,
}

impl From<Metrics> for Finished {
    fn from(metrics: Metrics) -> Self {
        Self {
            metrics,
            cost: None,
        }
    }
}

/// What lies above the engine and knows what records mean.
pub trait StageRunner: Sync {
    /// Runs a stage for which `StageSpec::runs_in_engine` holds: writes its
    /// outputs into the job's output directory and returns its metrics, and what
    /// it cost. Stops with an error soon after `cancel` is set.
    fn run_in_engine(
        &self,
        job: &Job,
        cancel: &AtomicBool,
        progress: &dyn Fn(Event),
    ) -> Result<Finished, StageFailure>;

    /// Finishes what a worker left in the job's output directory; metrics
    /// given are added to the worker's.
    fn after_worker(&self, job: &Job) -> Result<Option<Metrics>, StageFailure>;

    /// Reads the experiment's input files before anything runs; every problem
    /// found. `known` remembers which files were found sound before.
    fn check_inputs(&self, experiment: &Experiment, known: &dyn KnownInputs) -> Vec<StageFailure>;
}

/// Input files that were checked before. Told apart by their bytes, not their
/// paths.
pub trait KnownInputs {
    /// True if a file of these bytes was found sound, read in this way.
    fn is_sound(&self, path: &Path, way: &str) -> bool;

    /// Remembers that a file was found sound, read in this way.
    fn found_sound(&self, path: &Path, way: &str);

    /// Where a file of a hub lies once it is fetched, if that can be told.
    fn fetched(&self, _: &RowsDecl) -> Option<PathBuf> {
        None
    }
}

/// Knows nothing: every file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingKnown;

impl KnownInputs for NothingKnown {
    fn is_sound(&self, _: &Path, _: &str) -> bool {
        false
    }

    fn found_sound(&self, _: &Path, _: &str) {}
}
