//! `moreline plan`.

use super::args::PlanArguments;
use super::error::{CliError, EXIT_DIFFERENT, EXIT_OK, EXIT_USAGE};
use super::graph;
use super::progress::{Detail, Progress};
use super::session::Session;
use super::table::columns;
use super::terminal::{self, Colour};
use crate::engine;
use crate::plan::{Plan, PlannedStage, StageState};

/// Says what a run would do; the exit code.
pub(super) fn run(arguments: &PlanArguments) -> Result<u8, CliError> {
    let session = Session::open(&arguments.experiment)?;
    let selection = arguments.selection.selection();
    let progress = Progress::new(Detail::Quiet);
    let remote = session.remote(arguments.remote, &progress);
    let (experiment, site) = (&session.experiment, &session.site);
    let plan = engine::plan_selected(experiment, site, &selection, remote.as_ref())?;
    if arguments.json {
        terminal::json(&plan)?;
    } else if let Some(format) = arguments.graph {
        terminal::out(&graph::draw(&plan, format))?;
    } else {
        let rows: Vec<Vec<String>> = plan.stages.iter().map(row).collect();
        terminal::out(&format!("{}{}\n", columns(&rows), totals(&plan)))?;
    }
    Ok(if arguments.exit_code {
        exit_code(&plan)
    } else {
        EXIT_OK
    })
}

fn exit_code(plan: &Plan) -> u8 {
    let missing = |stage: &PlannedStage| matches!(stage.state, StageState::MissingInput { .. });
    if plan.stages.iter().any(missing) {
        EXIT_USAGE
    } else if plan.is_complete() {
        EXIT_OK
    } else {
        EXIT_DIFFERENT
    }
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
