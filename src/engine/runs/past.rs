//! A run as its record shows it.

use std::path::{Path, PathBuf};

use moreline_protocol::event::Metrics;
use moreline_protocol::spec::StageKind;
use serde::Serialize;

use super::events;
use super::file::RunFile;
use crate::engine::{StageFailure, StageSummary};
use crate::event::Outcome;
use crate::plan::StageKey;
use crate::store::ApiCost;

/// How a run ended, or that it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Every stage's result is in the store.
    Complete,
    /// A stage failed.
    Failed,
    /// It was stopped by its user.
    Stopped,
    /// It goes on, as far as this host can tell.
    Running,
    /// It ran on another host, and nothing was heard of it for an hour: whether it
    /// goes on cannot be told from here.
    Unknown,
    /// Its process is gone without a word.
    Killed,
}

impl RunState {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Unknown => "unknown",
            Self::Killed => "killed",
        }
    }
}

/// How a stage of a run ended, or that it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PastState {
    /// It was computed.
    Ran,
    /// Its result was there already.
    Cached,
    /// Something it depends on was computed anew, to the same bytes.
    CutOff,
    /// It failed.
    Failed,
    /// It was not tried.
    Skipped,
    /// Another run computes it; this one waits.
    Waiting,
    /// It is being computed.
    Running,
    /// It was being computed when the run was killed.
    Killed,
}

impl PastState {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Cached => "cached",
            Self::CutOff => "cut-off",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Killed => "killed",
        }
    }

    /// True if the run computed the stage, or began to.
    pub fn was_begun(self) -> bool {
        matches!(
            self,
            Self::Ran | Self::Failed | Self::Running | Self::Killed
        )
    }

    /// True if nothing more will happen to the stage in the run.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Running | Self::Waiting)
    }
}

impl From<Outcome> for PastState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ran => Self::Ran,
            Outcome::Cached => Self::Cached,
            Outcome::CutOff => Self::CutOff,
            Outcome::Failed => Self::Failed,
            Outcome::Skipped => Self::Skipped,
        }
    }
}

/// What a stage asked of an API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApiUse {
    /// Calls.
    pub calls: u64,
    /// Tokens read and written.
    pub tokens: u64,
    /// What they cost, if the site file had prices.
    pub cost: Option<ApiCost>,
}

/// One stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PastStage {
    /// Its name, with its cell.
    pub name: String,
    /// Its kind, if the record tells.
    pub kind: Option<StageKind>,
    /// How it ended.
    pub state: PastState,
    /// Its key, if its inputs were known; of a run that is not over, if its result
    /// was there.
    pub key: Option<StageKey>,
    /// Seconds it took in this run; 0 if nothing was computed.
    pub seconds: f64,
    /// Its metrics, if its result was there at the run's end.
    pub metrics: Option<Metrics>,
    /// What it asked of an API, in this run or in earlier ones that it went on
    /// from.
    pub api: Option<ApiUse>,
    /// Why it failed or was skipped.
    pub error: Option<StageFailure>,
}

impl PastStage {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            state: PastState::Skipped,
            key: None,
            seconds: 0.0,
            metrics: None,
            api: None,
            error: None,
        }
    }

    /// A stage that a run under way has not come to.
    pub(in crate::engine) fn waiting(name: &str) -> Self {
        Self {
            state: PastState::Waiting,
            ..Self::new(name)
        }
    }

    fn of_summary(summary: StageSummary) -> Self {
        let metrics = summary.metrics.as_ref();
        let count = |name: &str| metrics.and_then(|metrics| metrics.get(name)?.as_u64());
        let api = (summary.state == Outcome::Ran && summary.kind == StageKind::Judge)
            .then(|| {
                Some(ApiUse {
                    calls: count("calls")?,
                    tokens: count("tokens")?,
                    cost: summary.cost.clone(),
                })
            })
            .flatten();
        Self {
            name: summary.name,
            kind: Some(summary.kind),
            state: summary.state.into(),
            key: summary.key,
            seconds: summary.seconds,
            metrics: summary.metrics,
            api,
            error: summary.error,
        }
    }
}

/// A run as its record shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PastRun {
    /// Its id.
    pub id: String,
    /// How it ended.
    pub state: RunState,
    /// The experiment file.
    pub experiment: PathBuf,
    /// True for a rehearsal.
    pub smoke: bool,
    /// RFC 3339, UTC.
    pub started: String,
    /// The same; absent if it is not over, or was killed.
    pub finished: Option<String>,
    /// Seconds from start to end.
    pub seconds: Option<f64>,
    /// The host.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Version of the program.
    pub moreline: String,
    /// Where its records are.
    pub directory: PathBuf,
    /// Its stages, as far as it came.
    pub stages: Vec<PastStage>,
}

impl PastRun {
    /// The run whose records are in a directory, or what is wrong with them.
    pub(super) fn read(dir: &Path, id: &str) -> Result<Self, String> {
        let file = RunFile::read(dir, id)?;
        let goes_on = file.goes_on();
        let state = match &file.summary {
            Some(summary) if summary.stopped => RunState::Stopped,
            Some(summary) if summary.is_complete() => RunState::Complete,
            Some(_) => RunState::Failed,
            None if file.is_silent(dir) => RunState::Unknown,
            None if goes_on => RunState::Running,
            None => RunState::Killed,
        };
        let seconds = file.summary.as_ref().map(|summary| summary.seconds);
        let stages = match file.summary {
            Some(summary) => {
                let stages = summary.stages.into_iter();
                stages.map(PastStage::of_summary).collect()
            }
            None => events::stages(dir, goes_on)
                .map_err(|error| format!("{} cannot be read: {error}", events::EVENTS))?,
        };
        Ok(Self {
            id: file.run,
            state,
            experiment: file.experiment,
            smoke: file.smoke,
            started: file.started,
            finished: file.finished,
            seconds,
            host: file.host,
            pid: file.pid,
            moreline: file.moreline,
            directory: dir.to_owned(),
            stages,
        })
    }

    /// The stage of exactly this name.
    pub fn stage(&self, name: &str) -> Option<&PastStage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// How many of its stages are in one of these states.
    pub fn count(&self, states: &[PastState]) -> usize {
        let stages = self.stages.iter();
        stages.filter(|stage| states.contains(&stage.state)).count()
    }

    /// What its stages asked of APIs cost, by currency.
    pub fn costs(&self) -> Vec<ApiCost> {
        let uses = self.stages.iter().filter_map(|stage| stage.api.as_ref());
        ApiCost::sums(uses.filter_map(|api| api.cost.as_ref()))
    }

    /// Its records that are there, by name: `resolved`, `events`, `logs` and
    /// `tensorboard`.
    pub fn records(&self) -> Vec<(&'static str, PathBuf)> {
        let names = [
            ("resolved", super::SNAPSHOT),
            ("events", super::EVENTS),
            ("logs", "logs"),
            ("tensorboard", "tensorboard"),
        ];
        let path = |(name, file)| (name, self.directory.join(file));
        let records = names.into_iter().map(path);
        records.filter(|(_, path)| path.exists()).collect()
    }
}
