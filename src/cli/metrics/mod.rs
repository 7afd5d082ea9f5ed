//! `moreline metrics`.

mod choose;
mod over;

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, ValueEnum};
use glob::Pattern;
use serde_json::{Value, json};

use crate::cli::args::ExperimentArguments;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::cli::table::{columns, markdown, number};
use crate::cli::terminal::{self, Colour, plain};
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
    /// Means over the cells that differ in this variable of the matrix alone, for
    /// example `seed`, with their 95 % intervals (Student's t)
    #[arg(long, value_name = "VARIABLE")]
    over: Option<String>,
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
    let measured = measured(arguments, &session)?;
    let over = arguments.over.as_deref();
    let table = Table::new(measured, &arguments.columns, over)?;
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

/// A stage and its metrics by their dotted names.
type Row = (Measured, BTreeMap<String, Value>);

/// Metrics of stages, one row each, and the columns chosen.
struct Table {
    rows: Vec<Row>,
    columns: Vec<String>,
    /// Rows are means over cells: figures have intervals.
    of_means: bool,
}

impl Table {
    fn new(
        measured: Vec<Measured>,
        patterns: &[Pattern],
        over: Option<&str>,
    ) -> Result<Self, CliError> {
        if measured.is_empty() {
            return Err(CliError::NoMetrics {
                reason: "no stage has a result yet; run the experiment first".into(),
            });
        }
        let flat = measured.into_iter().map(|stage| {
            let values = engine::flat(&stage.metrics);
            (stage, values)
        });
        let mut rows: Vec<Row> = flat.collect();
        if let Some(variable) = over {
            rows = over::means(rows, variable)?;
        }
        let columns = match patterns {
            [] => choose::by_kind(&rows),
            patterns => choose::fitting(&rows, patterns)?,
        };
        let has_any = |(_, values): &Row| columns.iter().any(|column| values.contains_key(column));
        let rows = rows.into_iter().filter(has_any).collect();
        Ok(Self {
            rows,
            columns,
            of_means: over.is_some(),
        })
    }

    /// The columns, for programs: with the bounds of means beside them.
    fn exact_columns(&self) -> Vec<String> {
        let mut columns = Vec::new();
        for column in &self.columns {
            choose::add(&mut columns, [column]);
            if self.of_means {
                let bounds = [over::low(column), over::high(column)];
                let known = |name: &&String| self.rows.iter().any(|row| row.1.contains_key(*name));
                choose::add(&mut columns, bounds.iter().filter(known));
            }
        }
        columns
    }

    /// A figure for people; a mean with its interval.
    fn shown(&self, values: &BTreeMap<String, Value>, column: &str) -> String {
        let Some(value) = values.get(column) else {
            return "-".into();
        };
        let bounds = (
            values.get(&over::low(column)),
            values.get(&over::high(column)),
        );
        match bounds {
            (Some(low), Some(high)) if self.of_means => {
                format!("{} [{}, {}]", shown(value), shown(low), shown(high))
            }
            _ => shown(value),
        }
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
            row.extend(self.columns.iter().map(|name| self.shown(values, name)));
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
        let columns = self.exact_columns();
        heading.extend(columns.iter().cloned());
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
            row.extend(columns.iter().map(value));
            writer.write_record(&row).map_err(failed)?;
        }
        let bytes = writer.into_inner();
        let bytes = bytes.map_err(|error| CliError::Output(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn as_json(&self) -> Vec<Value> {
        let columns = self.exact_columns();
        let rows = self.rows.iter().map(|(stage, values)| {
            let values: BTreeMap<&String, &Value> = values
                .iter()
                .filter(|(name, _)| columns.contains(name))
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
    use moreline_protocol::spec::StageKind;

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
        Table::new(rows, &patterns, None)
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
