//! Errors of the engine.

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
