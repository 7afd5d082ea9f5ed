//! What a run did.

use moreline_protocol::event::Metrics;
use moreline_protocol::spec::StageKind;
use serde::{Deserialize, Serialize};

use super::runner::StageFailure;
use crate::event::Outcome;
use crate::plan::StageKey;
use crate::store::ApiCost;

/// A finished run: what `run --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run's id.
    pub run_id: String,
    /// The experiment's name.
    pub experiment: String,
    /// True if the run was stopped before its end.
    pub stopped: bool,
    /// Seconds from start to end.
    pub seconds: f64,
    /// The stages looked at, each after what it depends on.
    pub stages: Vec<StageSummary>,
}

/// One stage of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// The stage's name, with its cell.
    pub name: String,
    /// Its kind.
    pub kind: StageKind,
    /// How it ended.
    pub state: Outcome,
    /// Its key, if its inputs were known.
    pub key: Option<StageKey>,
    /// Seconds it took in this run; 0 if nothing was computed.
    pub seconds: f64,
    /// Its metrics, if its result is in the store.
    pub metrics: Option<Metrics>,
    /// What it asked of an API in this run cost, if the site file has prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<ApiCost>,
    /// Why it failed or was skipped.
    pub error: Option<StageFailure>,
}

impl RunSummary {
    /// True if every stage's result is in the store.
    pub fn is_complete(&self) -> bool {
        self.stages.iter().all(|stage| stage.state.is_done())
    }
}
