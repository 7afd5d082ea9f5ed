//! Errors of the engine.

use std::path::{Path, PathBuf};

use crate::engine::StageFailure;
use crate::plan::GraphError;
use crate::store::StoreError;

/// Why a run did not happen, or a question could not be answered. Failed
/// stages of a run are no error: the summary holds them.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The stages form no graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Inputs are missing or unusable; all problems together.
    #[error("failed to check the inputs: {}", list(.0))]
    Inputs(Vec<StageFailure>),
    /// No stage of that name.
    #[error("failed to find stage `{name}`{}", hint(.near))]
    NoSuchStage {
        /// The name asked for.
        name: String,
        /// The name meant, perhaps.
        near: Option<String>,
    },
    /// No stage is both behind and before the ones named.
    #[error(
        "failed to select any stage: none lies between the ones named; `moreline plan FILE --graph \
         text` shows how they depend on each other"
    )]
    NothingSelected,
    /// A stage to be forced is not among those that are run.
    #[error("failed to force stage `{stage}`: it is not among the stages that are to run")]
    ForcedNotSelected {
        /// The stage.
        stage: String,
    },
    /// The stage has no result yet.
    #[error("failed to find a result of stage `{stage}`: {reason}; run the experiment first")]
    NoResult {
        /// The stage.
        stage: String,
        /// Why there is none.
        reason: String,
    },
    /// No run of that id.
    #[error("failed to find run `{run}`{}", run_hint(.near))]
    NoSuchRun {
        /// The run asked for.
        run: String,
        /// The run meant, perhaps.
        near: Option<String>,
    },
    /// Several runs begin so.
    #[error(
        "failed to tell which run `{run}` is: {count} begin so: {}; write more of the id",
        some(.newest, *.count)
    )]
    WhichRun {
        /// What was asked for.
        run: String,
        /// How many there are.
        count: usize,
        /// Some of them, newest first.
        newest: Vec<String>,
    },
    /// There is no run yet.
    #[error("failed to find a run{}; `moreline run` makes one", of(.experiment.as_deref()))]
    NoRuns {
        /// The experiment file, if runs of one were asked for.
        experiment: Option<PathBuf>,
    },
    /// A run's record cannot be read.
    #[error(
        "failed to read the record of run `{run}`: {problem}; `moreline runs rm {run}` removes it"
    )]
    BadRun {
        /// The run.
        run: String,
        /// What is wrong.
        problem: String,
    },
    /// A run to be removed is not over.
    #[error(
        "failed to remove run `{run}`: it still goes on (process {pid} on {host}); stop it first"
    )]
    RunGoesOn {
        /// The run.
        run: String,
        /// Its process.
        pid: u32,
        /// The host it runs on.
        host: String,
    },
    /// A stage has no log.
    #[error("failed to find a log of stage `{stage}`: {reason}")]
    NoLog {
        /// The stage.
        stage: String,
        /// Why there is none.
        reason: String,
    },
}

fn list(problems: &[StageFailure]) -> String {
    let line = |problem: &StageFailure| match &problem.stage {
        Some(_) => format!("\n  {problem}"),
        None => format!("\n  failed to {problem}"),
    };
    let lines: Vec<_> = problems.iter().map(line).collect();
    lines.concat()
}

fn hint(near: &Option<String>) -> String {
    near.as_ref().map_or_else(
        || "; `moreline status FILE` lists the stages".into(),
        |name| format!("; did you mean `{name}`?"),
    )
}

fn run_hint(near: &Option<String>) -> String {
    near.as_ref().map_or_else(
        || "; `moreline runs list` shows the runs there are".into(),
        |run| format!("; did you mean `{run}`?"),
    )
}

fn some(runs: &[String], count: usize) -> String {
    let more = if count > runs.len() { ", ..." } else { "" };
    format!("{}{more}", runs.join(", "))
}

fn of(experiment: Option<&Path>) -> String {
    experiment.map_or_else(String::new, |path| format!(" of {}", path.display()))
}
