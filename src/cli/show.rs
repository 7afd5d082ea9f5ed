//! `moreline show`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use moreline_protocol::artifact::FED;
use moreline_protocol::rows::FedRow;
use serde_json::{Map, Value, json};

use super::args::ShowArguments;
use super::error::CliError;
use super::plan::state;
use super::run::shown;
use super::session::Session;
use super::table::{bytes, columns, duration, number};
use super::terminal::{self, Colour};
use crate::engine::{self, EngineError, StageView};
use crate::store::{ActionRecord, RecordedInput, RecordedOutput};

/// Texts shown of each set a stage fed to its model: a pair's two.
const FED_SHOWN: usize = 2;
/// Longest list of figures shown whole.
const LIST_SHOWN: usize = 10;

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
        None => Fed::default(),
    };
    if arguments.json {
        return terminal::json(&as_json(stage, &fed.shown));
    }
    let record = stage.record.as_ref();
    let copies = record.and_then(|r| engine::copies(&session.experiment, &name, r));
    terminal::out(&as_text(stage, copies.as_deref(), &fed))
}

/// The texts a stage fed to its model.
#[derive(Default)]
struct Fed {
    /// The first of each set.
    shown: Vec<FedRow>,
    /// How many there are in all.
    count: usize,
}

/// The first texts of each input.
fn fed_rows(path: &Path) -> Result<Fed, CliError> {
    let fail = |cause| CliError::Read {
        path: path.to_path_buf(),
        cause,
    };
    let file = File::open(path).map_err(fail)?;
    let mut fed = Fed::default();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(fail)?;
        let row: FedRow =
            serde_json::from_str(&line).map_err(|error| fail(std::io::Error::other(error)))?;
        fed.count += 1;
        let earlier = fed.shown.iter().filter(|earlier| earlier.set == row.set);
        if earlier.count() < FED_SHOWN {
            fed.shown.push(row);
        }
    }
    Ok(fed)
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

fn as_text(stage: &StageView, copies: Option<&Path>, fed: &Fed) -> String {
    let kind = stage.kind.name();
    let mut text = format!("{}  {kind}  {}", stage.name, state(&stage.state));
    let Some(record) = &stage.record else {
        text.push_str(&format!(": {}\n", stage.state.reason()));
        section(&mut text, "settings", settings(stage));
        return text;
    };
    text.push('\n');
    metrics(&mut text, record);
    section(&mut text, "outputs", outputs(stage, copies, record));
    section(&mut text, "inputs", inputs(record));
    section(&mut text, "settings", settings(stage));
    section(&mut text, "provenance", provenance(record));
    if !fed.shown.is_empty() {
        let (shown, count) = (fed.shown.len(), fed.count);
        text.push_str(&heading(&format!(
            "text as it was fed ({shown} of {count} in {FED})"
        )));
        fed.shown.iter().for_each(|row| fed_text(&mut text, row));
    }
    text
}

/// The metrics: figures, then figures by name (such as of test sets) as tables.
fn metrics(text: &mut String, record: &ActionRecord) {
    let (tables, figures): (Map<String, Value>, Map<String, Value>) = record
        .metrics
        .clone()
        .into_iter()
        .partition(|(_, value)| is_table(value));
    section(text, "metrics", flat(&Value::Object(figures)));
    for (name, members) in &tables {
        if let Value::Object(members) = members {
            section(text, &format!("metrics: {name}"), by_name(members));
        }
    }
}

/// True for an object of objects that hold no objects.
fn is_table(value: &Value) -> bool {
    let plain = |member: &Value| {
        let figures = member.as_object();
        figures.is_some_and(|figures| !figures.values().any(Value::is_object))
    };
    let members = value.as_object();
    members.is_some_and(|members| !members.is_empty() && members.values().all(plain))
}

/// One column for each member, one row for each figure.
fn by_name(members: &Map<String, Value>) -> Vec<Vec<String>> {
    let mut figures: Vec<&String> = Vec::new();
    let all = members.values().filter_map(Value::as_object).flatten();
    for (name, value) in all {
        // What is a table itself is in the record and in the report.
        if !value.is_array() && !figures.contains(&name) {
            figures.push(name);
        }
    }
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(members.keys().cloned());
    for figure in figures {
        let mut row = vec![figure.clone()];
        row.extend(
            members
                .values()
                .map(|member| scalar(&member[figure.as_str()])),
        );
        rows.push(row);
    }
    rows
}

fn outputs(stage: &StageView, copies: Option<&Path>, record: &ActionRecord) -> Vec<Vec<String>> {
    let row = |(name, output): (&String, &RecordedOutput)| {
        let copy = copies
            .map(|dir| dir.join(name))
            .filter(|copy| copy.exists());
        let path = copy.as_ref().or_else(|| stage.outputs.get(name));
        vec![
            name.clone(),
            bytes(output.bytes),
            path.map_or(String::new(), |path| shown(path)),
        ]
    };
    record.outputs.iter().map(row).collect()
}

fn inputs(record: &ActionRecord) -> Vec<Vec<String>> {
    let row =
        |input: &RecordedInput| vec![input.role.clone(), input.name.clone(), input.digest.short()];
    record.inputs.iter().map(row).collect()
}

fn fed_text(text: &mut String, row: &FedRow) {
    let response = row
        .response
        .map_or(String::new(), |r| format!(", response {r}"));
    let cut = match row.truncated {
        0 => String::new(),
        some => format!(", {some} cut off"),
    };
    text.push_str(&format!(
        "  {} row {}{response}: {} tokens{cut}\n",
        row.set, row.row, row.tokens
    ));
    for line in row.text.split('\n') {
        text.push_str("  | ");
        text.push_str(&terminal::plain(line));
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
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
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                flatten(&path, member, rows);
            }
        }
        Value::Null => {}
        other => rows.push(vec![path.to_owned(), scalar(other)]),
    }
}

/// A value in one cell; lists of figures are told whole if they are short.
fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Number(figure) => figure.as_f64().map_or(figure.to_string(), number),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) if items.len() <= LIST_SHOWN && items.iter().all(Value::is_number) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            items.join(" ")
        }
        Value::Array(items) => format!("({} values)", items.len()),
        Value::Object(members) => format!("({} values)", members.len()),
    }
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
    format!("\n{}\n", terminal::paint(Colour::Green, title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_steer_the_terminal() {
        let mut text = String::new();
        let row = FedRow {
            set: "s".into(),
            row: 0,
            response: Some(1),
            text: "a\u{1b}[2Jb\tc\n\n".into(),
            tokens: 4,
            truncated: 2,
        };
        fed_text(&mut text, &row);
        let shown = "  s row 0, response 1: 4 tokens, 2 cut off\n  | a\u{fffd}[2Jb c\n  |\n  |\n";
        assert_eq!(text, shown);
    }

    #[test]
    fn figures_of_sets_become_a_table() {
        let sets = json!({"a": {"x": 1, "bins": [[1], [2]]}, "b": {"x": 0.25, "y": true}});
        assert!(is_table(&sets));
        assert!(!is_table(&json!({"a": 1})));
        assert!(!is_table(&json!({})));
        let rows = by_name(sets.as_object().expect("an object"));
        assert_eq!(rows[0], ["", "a", "b"]);
        assert_eq!(rows[1], ["x", "1", "0.2500"]);
        assert_eq!(rows[2], ["y", "-", "true"]);
        assert_eq!(rows.len(), 3);
    }
}
