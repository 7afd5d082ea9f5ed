//! What planning says about each stage.

use moreline_protocol::spec::StageKind;
use serde::{Deserialize, Serialize};

use super::key::StageKey;

/// What a run would do with a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum StageState {
    /// Its result is there.
    Cached,
    /// It would be computed.
    Run {
        /// Why, in one line.
        reason: String,
    },
    /// It depends on the bytes that others will give.
    Maybe {
        /// The stages (or models still to be fetched) it waits for.
        after: Vec<String>,
    },
    /// A file it needs is not there.
    MissingInput {
        /// What is missing, with its path.
        inputs: Vec<String>,
    },
}

impl StageState {
    /// The state's name: `cached`, `run`, `maybe` or `missing-input`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Run { .. } => "run",
            Self::Maybe { .. } => "maybe",
            Self::MissingInput { .. } => "missing-input",
        }
    }

    /// Why, in one line.
    pub fn reason(&self) -> String {
        match self {
            Self::Cached => "up to date".into(),
            Self::Run { reason } => reason.clone(),
            Self::Maybe { after } => format!("depends on {}", after.join(", ")),
            Self::MissingInput { inputs } => format!("missing {}", inputs.join(", ")),
        }
    }
}

/// One stage of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// The stage's name, with its cell.
    pub name: String,
    /// Its kind.
    pub kind: StageKind,
    /// The matrix cell: variables and values.
    pub cell: Vec<(String, String)>,
    /// The stages it takes something from.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Its key, if every input's bytes are known.
    pub key: Option<StageKey>,
    /// What a run would do with it.
    #[serde(flatten)]
    pub state: StageState,
    /// Why, in one line.
    #[serde(default)]
    pub why: String,
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The experiment's name.
    pub experiment: String,
    /// Its stages, each after everything it depends on.
    pub stages: Vec<PlannedStage>,
}

impl Plan {
    /// True if a run would compute nothing.
    pub fn is_complete(&self) -> bool {
        self.stages
            .iter()
            .all(|stage| stage.state == StageState::Cached)
    }
}
