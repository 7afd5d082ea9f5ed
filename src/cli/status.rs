//! `moreline status`.

use serde_json::json;

use super::args::QueryArguments;
use super::error::CliError;
use super::headline::headline;
use super::plan::state;
use super::progress::{Detail, Progress};
use super::session::Session;
use super::table::{columns, duration};
use super::terminal;
use crate::engine::{self, RunView, StageView};

/// Lists the stages with their results.
pub(super) fn run(arguments: &QueryArguments) -> Result<(), CliError> {
    let session = Session::open(&arguments.experiment)?;
    let progress = Progress::new(Detail::Quiet);
    let remote = session.remote(arguments.remote, &progress);
    let view = engine::inspect_with(&session.experiment, &session.site, remote.as_ref())?;
    if arguments.json {
        return terminal::json(&as_json(&view));
    }
    let rows: Vec<Vec<String>> = view.stages.iter().map(row).collect();
    terminal::out(&columns(&rows))
}

fn row(stage: &StageView) -> Vec<String> {
    let (seconds, finished, last) = match &stage.record {
        Some(record) => (
            duration(record.provenance.seconds),
            record.provenance.finished.clone(),
            headline(stage.kind, &record.metrics),
        ),
        None => ("-".into(), "-".into(), stage.state.reason()),
    };
    vec![
        stage.name.clone(),
        stage.kind.name().into(),
        state(&stage.state),
        seconds,
        finished,
        last,
    ]
}

fn as_json(view: &RunView) -> serde_json::Value {
    let stages: Vec<serde_json::Value> = view
        .stages
        .iter()
        .map(|stage| {
            let record = stage.record.as_ref();
            json!({
                "name": stage.name,
                "kind": stage.kind,
                "state": stage.state.name(),
                "key": stage.key,
                "finished": record.map(|record| &record.provenance.finished),
                "seconds": record.map(|record| record.provenance.seconds),
                "metrics": record.map(|record| &record.metrics),
            })
        })
        .collect();
    json!({"experiment": view.experiment, "stages": stages})
}
