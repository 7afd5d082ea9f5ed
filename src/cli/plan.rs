//! `moreline plan`.

use super::args::QueryArguments;
use super::error::CliError;
use super::session::Session;
use super::table::columns;
use super::terminal::{self, Colour};
use crate::engine;
use crate::plan::{Plan, PlannedStage, StageState};

/// Says what a run would do.
pub(super) fn run(arguments: &QueryArguments) -> Result<(), CliError> {
    let session = Session::open(&arguments.experiment)?;
    let plan = engine::plan(&session.experiment, &session.site)?;
    if arguments.json {
        return terminal::json(&plan);
    }
    let rows: Vec<Vec<String>> = plan.stages.iter().map(row).collect();
    terminal::out(&format!("{}{}\n", columns(&rows), totals(&plan)))
}

fn row(stage: &PlannedStage) -> Vec<String> {
    vec![
        stage.name.clone(),
        stage.kind.name().into(),
        state(&stage.state),
        stage.why.clone(),
    ]
}

/// A planned state's name in its colour.
pub(super) fn state(state: &StageState) -> String {
    let colour = match state {
        StageState::Cached => Colour::Dim,
        StageState::Run { .. } => Colour::Green,
        StageState::Maybe { .. } => Colour::Yellow,
        StageState::MissingInput { .. } => Colour::Red,
    };
    terminal::paint(colour, state.name())
}

fn totals(plan: &Plan) -> String {
    let count = |name: &str| {
        let stages = plan.stages.iter();
        stages.filter(|stage| stage.state.name() == name).count()
    };
    let parts: Vec<String> = ["cached", "run", "maybe", "missing-input"]
        .into_iter()
        .filter_map(|name| match count(name) {
            0 => None,
            some => Some(format!("{some} {name}")),
        })
        .collect();
    parts.join(", ")
}
