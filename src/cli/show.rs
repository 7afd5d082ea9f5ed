//! `moreline show`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use moreline_protocol::artifact::FED;
use moreline_protocol::rows::FedRow;
use serde_json::{Value, json};

use super::args::ShowArguments;
use super::error::CliError;
use super::plan::state;
use super::session::Session;
use super::table::{bytes, columns, duration, number};
use super::terminal::{self, Colour};
use crate::engine::{self, EngineError, StageView};
use crate::store::ActionRecord;

/// Texts shown of those a stage fed to its model.
const FED_SHOWN: usize = 3;

/// Shows one stage.
pub(super) fn run(arguments: &ShowArguments) -> Result<(), CliError> {
    let session = Session::open(&arguments.experiment)?;
    let name = session.stage_name(&arguments.stage)?;
    let view = engine::inspect(&session.experiment, &session.site)?;
    let Some(stage) = view.stage(&name) else {
        let near = crate::config::closest(&name, view.stages.iter().map(|s| s.name.as_str()));
        return Err(CliError::Engine(EngineError::NoSuchStage {
            near: near.map(str::to_owned),
            name,
        }));
    };
    let fed = match stage.outputs.get(FED) {
        Some(path) => fed_rows(path)?,
        None => Vec::new(),
    };
    if arguments.json {
        return terminal::json(&as_json(stage, &fed));
    }
    terminal::out(&as_text(stage, &fed))
}

/// The first texts of each input.
fn fed_rows(path: &Path) -> Result<Vec<FedRow>, CliError> {
    let fail = |cause| CliError::Read {
        path: path.to_path_buf(),
        cause,
    };
    let file = File::open(path).map_err(fail)?;
    let mut rows: Vec<FedRow> = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(fail)?;
        let row: FedRow =
            serde_json::from_str(&line).map_err(|error| fail(std::io::Error::other(error)))?;
        if rows.iter().filter(|earlier| earlier.set == row.set).count() < FED_SHOWN {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn as_json(stage: &StageView, fed: &[FedRow]) -> Value {
    let record = stage.record.as_ref();
    json!({
        "name": stage.name,
        "kind": stage.kind,
        "cell": stage.cell,
        "state": stage.state.name(),
        "why": stage.state.reason(),
        "key": stage.key,
        "settings": stage.spec,
        "metrics": record.map(|record| &record.metrics),
        "outputs": stage.outputs,
        "inputs": record.map(|record| &record.inputs),
        "provenance": record.map(|record| &record.provenance),
        "fed": fed,
    })
}

fn as_text(stage: &StageView, fed: &[FedRow]) -> String {
    let kind = stage.kind.name();
    let mut text = format!("{}  {kind}  {}", stage.name, state(&stage.state));
    match &stage.record {
        Some(record) => {
            text.push('\n');
            text.push_str(&committed(stage, record));
        }
        None => text.push_str(&format!(": {}\n", stage.state.reason())),
    }
    section(&mut text, "settings", settings(stage));
    for row in fed {
        let response = row
            .response
            .map_or(String::new(), |r| format!(" response {r}"));
        let cut = match row.truncated {
            0 => String::new(),
            some => format!(", {some} cut off"),
        };
        text.push_str(&heading(&format!(
            "fed: {} row {}{response}, {} tokens{cut}",
            row.set, row.row, row.tokens
        )));
        text.push_str(&row.text);
        text.push('\n');
    }
    text
}

fn committed(stage: &StageView, record: &ActionRecord) -> String {
    let mut text = String::new();
    section(
        &mut text,
        "metrics",
        flat(&Value::Object(record.metrics.clone())),
    );
    let outputs = record.outputs.iter().map(|(name, output)| {
        let path = stage.outputs.get(name);
        vec![
            name.clone(),
            bytes(output.bytes),
            path.map_or(String::new(), |path| path.display().to_string()),
        ]
    });
    section(&mut text, "outputs", outputs.collect());
    let inputs = record.inputs.iter().map(|input| {
        let digest = input.digest.to_string();
        let short = digest.get(..12).unwrap_or(&digest).to_owned();
        vec![input.role.clone(), input.name.clone(), short]
    });
    section(&mut text, "inputs", inputs.collect());
    section(&mut text, "provenance", provenance(record));
    text
}

fn provenance(record: &ActionRecord) -> Vec<Vec<String>> {
    let from = &record.provenance;
    let pair = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        pair("key", record.key.to_string()),
        pair("run", from.run.clone()),
        pair("finished", from.finished.clone()),
        pair("took", duration(from.seconds)),
        pair("host", from.host.clone()),
        pair("moreline", from.moreline.clone()),
    ];
    if let Some(git) = &from.git {
        let dirty = match git.dirty {
            Some(true) => ", with changes",
            _ => "",
        };
        rows.push(pair("commit", format!("{}{dirty}", git.commit)));
    }
    if let Some(seed) = from.seed {
        rows.push(pair("seed", seed.to_string()));
    }
    for (name, value) in [
        ("resources", serde_json::to_value(&from.resources)),
        ("numerics", serde_json::to_value(&from.fingerprint)),
    ] {
        let figures = flat(&value.unwrap_or_default());
        let figures: Vec<String> = figures.iter().map(|row| row.join(" ")).collect();
        if !figures.is_empty() {
            rows.push(pair(name, figures.join(", ")));
        }
    }
    for (name, value) in &from.timings {
        rows.push(pair(name, number(*value)));
    }
    rows
}

fn settings(stage: &StageView) -> Vec<Vec<String>> {
    let Ok(Value::Object(mut spec)) = serde_json::to_value(&stage.spec) else {
        return Vec::new();
    };
    spec.remove("kind");
    spec.iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| vec![name.clone(), value.to_string()])
        .collect()
}

/// The scalars of a JSON value with their dotted paths; lists are told by
/// their length.
fn flat(value: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    flatten("", value, &mut rows);
    rows
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let shown = match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                flatten(&path, member, rows);
            }
            return;
        }
        Value::Null => return,
        Value::Array(items) => format!("({} values)", items.len()),
        Value::Number(figure) => figure.as_f64().map_or(figure.to_string(), number),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
    };
    rows.push(vec![path.to_owned(), shown]);
}

fn section(text: &mut String, title: &str, rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    text.push_str(&heading(title));
    let indented: Vec<Vec<String>> = rows
        .into_iter()
        .map(|mut row| {
            row[0].insert_str(0, "  ");
            row
        })
        .collect();
    text.push_str(&columns(&indented));
}

fn heading(title: &str) -> String {
    format!("{}\n", terminal::paint(Colour::Green, title))
}
