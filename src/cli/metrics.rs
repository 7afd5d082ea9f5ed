//! `moreline metrics`.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, ValueEnum};
use glob::Pattern;
use moreline_protocol::spec::StageKind;
use serde_json::{Value, json};

use super::args::ExperimentArguments;
use super::error::CliError;
use super::session::Session;
use super::table::{columns, markdown, number};
use super::terminal::{self, Colour, plain};
use crate::config::closest;
use crate::engine::{self, LATEST, Measured, PastRun, Runs};

/// Arguments of `metrics`.
#[derive(Debug, Args)]
pub(super) struct MetricsArguments {
    #[command(flatten)]
    experiment: ExperimentArguments,
    /// Those of the newest N finished runs of the file, instead of the present
    /// results
    #[arg(long, value_name = "N", conflicts_with = "run")]
    runs: Option<usize>,
    /// Those of this run: its id, what only its id begins with, or `latest`; may be
    /// repeated
    #[arg(long, value_name = "ID")]
    run: Vec<String>,
    /// Only metrics whose name, or the last part of it, fits this pattern, for
    /// example 'accuracy*' or 'sets.helpful.*'; may be repeated (default: those
    /// one looks for first)
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    columns: Vec<Pattern>,
    /// How to print them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading
    Table,
    /// Comma-separated, all digits
    Csv,
    /// One object, all digits
    Json,
    /// For Markdown
    Markdown,
}

impl MetricsArguments {
    /// True if JSON is asked for.
    pub(super) fn json(&self) -> bool {
        self.json || self.format == Format::Json
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| format!("{error}; `*` stands for any characters"))
}

/// Prints the metrics.
pub(super) fn run(arguments: &MetricsArguments) -> Result<(), CliError> {
    let session = Session::open(&arguments.experiment)?;
    let table = Table::new(measured(arguments, &session)?, &arguments.columns)?;
    if arguments.json() {
        let experiment = &session.experiment.name;
        return terminal::json(&json!({"experiment": experiment, "rows": table.as_json()}));
    }
    terminal::out(&match arguments.format {
        Format::Csv => table.as_csv()?,
        Format::Markdown => markdown(&table.cells(|text| text)),
        Format::Table | Format::Json => {
            columns(&table.cells(|text| terminal::paint(Colour::Dim, &text)))
        }
    })
}

fn measured(arguments: &MetricsArguments, session: &Session) -> Result<Vec<Measured>, CliError> {
    let (experiment, site) = (&session.experiment, &session.site);
    if arguments.runs.is_none() && arguments.run.is_empty() {
        return Ok(engine::measured(experiment, site)?);
    }
    let store = engine::store(experiment, site);
    let runs = Runs::new(&store);
    let chosen: Vec<PastRun> = match arguments.runs {
        Some(count) => {
            let list = runs.list(Some(&experiment.path))?.runs.into_iter();
            let own = |run: &PastRun| run.finished.is_some() && run.smoke == experiment.smoke;
            list.filter(own).take(count).collect()
        }
        None => {
            let found = arguments.run.iter().map(|id| {
                let of = (id == LATEST).then_some(experiment.path.as_path());
                runs.find(id, of)
            });
            found.collect::<Result<_, _>>()?
        }
    };
    Ok(chosen.iter().flat_map(PastRun::measured).collect())
}

/// What one looks for first in the metrics of a kind of stage.
fn first(kind: StageKind) -> &'static [&'static str] {
    match kind {
        StageKind::TrainReward | StageKind::Sft => &["final_loss"],
        StageKind::EvaluateReward => &["mean.accuracy", "mean.ece", "sets.*.accuracy"],
        StageKind::Generate => &["responses"],
        StageKind::Score => &["mean"],
        StageKind::Select => &["selected", "mean_before", "mean_after"],
        StageKind::Perplexity => &["perplexity"],
        StageKind::Judge => &["win_rate", "win_rate_low", "win_rate_high"],
        StageKind::Import => &["imported"],
    }
}

/// Metrics of stages, one row each, and the columns chosen.
struct Table {
    rows: Vec<(Measured, BTreeMap<String, Value>)>,
    columns: Vec<String>,
}

impl Table {
    fn new(measured: Vec<Measured>, patterns: &[Pattern]) -> Result<Self, CliError> {
        if measured.is_empty() {
            return Err(CliError::NoMetrics {
                reason: "no stage has a result yet; run the experiment first".into(),
            });
        }
        let rows: Vec<_> = measured
            .into_iter()
            .map(|stage| {
                let values = engine::flat(&stage.metrics);
                (stage, values)
            })
            .collect();
        let columns = match patterns {
            [] => default_columns(&rows),
            patterns => chosen_columns(&rows, patterns)?,
        };
        let has_any = |(_, values): &(Measured, BTreeMap<String, Value>)| {
            columns.iter().any(|column| values.contains_key(column))
        };
        let rows = rows.into_iter().filter(has_any).collect();
        Ok(Self { rows, columns })
    }

    /// True if the rows are those of runs.
    fn of_runs(&self) -> bool {
        self.rows.iter().any(|(stage, _)| stage.run.is_some())
    }

    /// A heading and the rows, for people.
    fn cells(&self, heading: impl Fn(String) -> String) -> Vec<Vec<String>> {
        let runs = self.of_runs();
        let mut first: Vec<String> = Vec::new();
        if runs {
            first.push("run".into());
        }
        first.extend(["stage".into(), "kind".into()]);
        first.extend(self.columns.iter().map(|name| plain(name)));
        let mut cells = vec![first.into_iter().map(heading).collect()];
        cells.extend(self.rows.iter().map(|(stage, values)| {
            let run = runs.then(|| stage.run.clone().unwrap_or_default());
            let mut row: Vec<String> = run.into_iter().collect();
            row.extend([plain(&stage.stage), stage.kind.name().into()]);
            let value = |column| values.get(column).map_or("-".into(), shown);
            row.extend(self.columns.iter().map(value));
            row
        }));
        cells
    }

    fn as_csv(&self) -> Result<String, CliError> {
        let runs = self.of_runs();
        let cells = self.rows.iter().flat_map(|(stage, _)| &stage.cell);
        let variables: BTreeSet<&String> = cells.map(|(variable, _)| variable).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        let failed = |error: csv::Error| CliError::Output(std::io::Error::other(error));
        let mut heading: Vec<String> = Vec::new();
        if runs {
            heading.push("run".into());
        }
        heading.extend(["stage".into(), "kind".into()]);
        heading.extend(variables.iter().map(|name| format!("matrix.{name}")));
        heading.extend(self.columns.iter().cloned());
        writer.write_record(&heading).map_err(failed)?;
        for (stage, values) in &self.rows {
            let run = runs.then(|| stage.run.clone().unwrap_or_default());
            let mut row: Vec<String> = run.into_iter().collect();
            row.extend([stage.stage.clone(), stage.kind.name().into()]);
            row.extend(variables.iter().map(|name| {
                let found = stage.cell.iter().find(|(variable, _)| variable == *name);
                found.map_or_else(String::new, |(_, value)| value.clone())
            }));
            let value = |column| values.get(column).map_or_else(String::new, exact);
            row.extend(self.columns.iter().map(value));
            writer.write_record(&row).map_err(failed)?;
        }
        let bytes = writer.into_inner();
        let bytes = bytes.map_err(|error| CliError::Output(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn as_json(&self) -> Vec<Value> {
        let rows = self.rows.iter().map(|(stage, values)| {
            let values: BTreeMap<&String, &Value> = values
                .iter()
                .filter(|(name, _)| self.columns.contains(name))
                .collect();
            let cell: BTreeMap<&String, &String> = stage
                .cell
                .iter()
                .map(|(name, value)| (name, value))
                .collect();
            json!({
                "run": stage.run,
                "stage": stage.stage,
                "kind": stage.kind,
                "cell": cell,
                "metrics": values,
            })
        });
        rows.collect()
    }
}

/// The columns that some row of a kind is looked at for first.
fn default_columns(rows: &[(Measured, BTreeMap<String, Value>)]) -> Vec<String> {
    let mut columns = Vec::new();
    for (stage, values) in rows {
        for text in first(stage.kind) {
            let Ok(pattern) = Pattern::new(text) else {
                continue;
            };
            let fitting = values.keys().filter(|name| pattern.matches(name));
            add(&mut columns, fitting);
        }
    }
    columns
}

/// The columns that fit a pattern, pattern by pattern.
fn chosen_columns(
    rows: &[(Measured, BTreeMap<String, Value>)],
    patterns: &[Pattern],
) -> Result<Vec<String>, CliError> {
    let all: BTreeSet<&String> = rows.iter().flat_map(|(_, values)| values.keys()).collect();
    let mut columns = Vec::new();
    for pattern in patterns {
        let fitting: Vec<&String> = all
            .iter()
            .copied()
            .filter(|name| fits(pattern, name))
            .collect();
        if fitting.is_empty() {
            let last = |name: &&String| name.rsplit('.').next().unwrap_or_default().to_owned();
            let names: BTreeSet<String> = all.iter().map(last).collect();
            let near = closest(pattern.as_str(), names.iter().map(String::as_str));
            let hint = match near {
                Some(name) => format!("did you mean `{name}`?"),
                None => "`--columns '*'` shows all".into(),
            };
            let reason = format!("none is called `{}`; {hint}", pattern.as_str());
            return Err(CliError::NoMetrics { reason });
        }
        add(&mut columns, fitting);
    }
    Ok(columns)
}

fn add<'a>(columns: &mut Vec<String>, names: impl IntoIterator<Item = &'a String>) {
    for name in names {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
}

/// Whether a pattern fits a name, or what follows one of its dots.
fn fits(pattern: &Pattern, name: &str) -> bool {
    let tails = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
    std::iter::once(name)
        .chain(tails)
        .any(|tail| pattern.matches(tail))
}

fn shown(value: &Value) -> String {
    match value.as_f64() {
        Some(figure) => number(figure),
        None => plain(&exact(value)),
    }
}

fn exact(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> Result<Table, CliError> {
        let stage = |name: &str, kind, metrics: Value| Measured {
            run: None,
            stage: name.into(),
            cell: vec![("method".into(), "a, \"b\"".into())],
            kind,
            metrics: metrics.as_object().cloned().unwrap_or_default(),
        };
        let patterns: Vec<Pattern> = patterns.iter().map(|p| pattern(p).unwrap()).collect();
        let sets = json!({"sets": {"x": {"accuracy": 0.1 + 0.2, "accuracy_low": 0.1}},
                          "mean": {"accuracy": 0.5}});
        let rows = vec![
            stage("eval", StageKind::EvaluateReward, sets),
            stage(
                "rm",
                StageKind::TrainReward,
                json!({"final_loss": 0.25, "steps": 3}),
            ),
        ];
        Table::new(rows, &patterns)
    }

    fn chosen(patterns: &[&str]) -> Vec<String> {
        table(patterns).unwrap().columns
    }

    #[test]
    fn columns_are_chosen_by_name_or_the_end_of_it() {
        assert_eq!(
            chosen(&[]),
            ["mean.accuracy", "sets.x.accuracy", "final_loss"]
        );
        assert_eq!(chosen(&["accuracy_*"]), ["sets.x.accuracy_low"]);
        assert_eq!(chosen(&["steps", "mean.*"]), ["steps", "mean.accuracy"]);
        assert_eq!(chosen(&["*"]).len(), 5);
        assert_eq!(table(&["steps"]).unwrap().rows.len(), 1);
        let message = |name| table(&[name]).err().unwrap().to_string();
        insta::assert_snapshot!(message("acuracy"), @"failed to find metrics: none is called `acuracy`; did you mean `accuracy`?");
        insta::assert_snapshot!(message("zzz*"), @"failed to find metrics: none is called `zzz*`; `--columns '*'` shows all");
        assert!(pattern("[").is_err());
    }

    #[test]
    fn csv_is_quoted_and_keeps_all_digits() {
        let csv = table(&["accuracy"]).unwrap().as_csv().unwrap();
        insta::assert_snapshot!(csv, @r#"
        stage,kind,matrix.method,mean.accuracy,sets.x.accuracy
        eval,evaluate-reward,"a, ""b""",0.5,0.30000000000000004
        "#);
    }
}
