//! What a run tells whoever watches it.

use std::collections::BTreeMap;

use moreline_protocol::event::Level;
use moreline_protocol::spec::StageKind;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// How a stage of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was computed in this run.
    Ran,
    /// Its result was there already.
    Cached,
    /// Something it depends on was computed anew, to the same bytes.
    CutOff,
    /// It failed.
    Failed,
    /// It was not tried: something it depends on failed, or the run was stopped.
    Skipped,
}

impl Outcome {
    /// True if the stage's result is in the store.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Ran | Self::Cached | Self::CutOff)
    }
}

/// Who holds the lock of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The host it runs on.
    pub host: String,
    /// When it took the lock, RFC 3339 in UTC.
    pub since: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// One event of a run, in the order things happen. Also a line of the run's
/// journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// The run has an id and a plan.
    RunStarted {
        /// The run's id.
        run: String,
        /// The experiment's name.
        experiment: String,
        /// Number of stages looked at.
        stages: usize,
    },
    /// A model is being fetched.
    Fetching {
        /// What: `hf:org/name@revision`.
        what: String,
        /// The file.
        file: String,
        /// Bytes there.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A stage is about to be computed.
    StageStarted {
        /// The stage.
        stage: String,
        /// Its kind.
        kind: StageKind,
        /// Why it runs.
        reason: String,
        /// The device it was given; absent if the engine runs it itself.
        device: Option<String>,
    },
    /// Another run computes the same stage; this one waits for its result.
    StageWaiting {
        /// The stage.
        stage: String,
        /// Who computes it, if known.
        holder: Option<Holder>,
    },
    /// How far a phase of a stage is.
    Progress {
        /// The stage.
        stage: String,
        /// What is being done: `training`, `generating`, ...
        phase: String,
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// `pairs`, `prompts`, `tokens`, ...
        unit: String,
    },
    /// Scalars of a training step.
    Scalars {
        /// The stage.
        stage: String,
        /// Optimiser step, from 1.
        step: u64,
        /// Name to value.
        values: BTreeMap<String, f64>,
    },
    /// A line of a stage's log.
    Log {
        /// The stage.
        stage: String,
        /// How much it matters.
        level: Level,
        /// The message.
        message: String,
    },
    /// A stage's result is in the store.
    StageFinished {
        /// The stage.
        stage: String,
        /// `ran`, `cached` or `cut-off`.
        state: Outcome,
        /// Seconds it took in this run.
        seconds: f64,
        /// Its key: what a run that is killed used is told by its events alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
    },
    /// A stage failed.
    StageFailed {
        /// The stage.
        stage: String,
        /// Completes `failed to run STAGE: ...`.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A stage was not tried.
    StageSkipped {
        /// The stage.
        stage: String,
        /// Why.
        reason: String,
    },
    /// The run is over.
    RunFinished {
        /// The run's id.
        run: String,
        /// True if every stage's result is in the store.
        complete: bool,
        /// Seconds from start to end.
        seconds: f64,
    },
}
