//! `moreline runs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::CacheTarget;
use super::error::CliError;
use super::headline::headline;
use super::run::shown;
use super::session::Session;
use super::table::{columns, duration};
use super::terminal::{self, Colour, plain};
use crate::engine::{self, PastRun, PastStage, PastState, RunState, Runs, Unreadable};
use crate::store::{ActionRecord, Store};

/// Arguments of `runs`.
#[derive(Debug, Args)]
pub(super) struct RunsArguments {
    /// What to do with them.
    #[command(subcommand)]
    command: RunsCommand,
}

/// The commands of `runs`.
#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// List the runs, newest first
    List(ListArguments),
    /// Show one run: its stages, and where its records are
    Show(RunArguments),
    /// Remove the records of runs that are over; results stay
    Rm(RemoveArguments),
}

/// Arguments of `runs list`.
#[derive(Debug, Args)]
struct ListArguments {
    /// Only the runs of this experiment (default: all of the cache of experiments
    /// in this directory)
    file: Option<PathBuf>,
    /// Only the newest N
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    common: CommonArguments,
}

/// Arguments of `runs show`.
#[derive(Debug, Args)]
struct RunArguments {
    /// The run: its id, what only its id begins with, or `latest`
    #[arg(value_name = "ID")]
    run: String,
    /// An experiment whose cache is meant; `latest` is its latest run then
    file: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

/// Arguments of `runs rm`.
#[derive(Debug, Args)]
struct RemoveArguments {
    /// The runs, as for `show`; a last word with a dot in it is an experiment
    /// file, whose cache is meant
    #[arg(value_name = "ID", required = true)]
    runs: Vec<String>,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Debug, Args)]
struct CommonArguments {
    /// The site file
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RunsArguments {
    /// True if JSON is asked for.
    pub(super) fn json(&self) -> bool {
        match &self.command {
            RunsCommand::List(arguments) => arguments.common.json,
            RunsCommand::Show(arguments) => arguments.common.json,
            RunsCommand::Rm(arguments) => arguments.common.json,
        }
    }
}

/// Lists, shows or removes runs.
pub(super) fn run(arguments: &RunsArguments) -> Result<(), CliError> {
    match &arguments.command {
        RunsCommand::List(arguments) => list(arguments),
        RunsCommand::Show(arguments) => show(arguments),
        RunsCommand::Rm(arguments) => remove(arguments),
    }
}

/// The cache of an experiment file, or of this directory.
fn session(file: Option<&Path>, common: &CommonArguments) -> Result<(Session, Store), CliError> {
    let session = Session::of_cache(&CacheTarget {
        file: file.map(Path::to_owned),
        site: common.site.clone(),
        json: common.json,
    })?;
    let store = engine::store(&session.experiment, &session.site);
    Ok((session, store))
}

fn list(arguments: &ListArguments) -> Result<(), CliError> {
    let (session, store) = session(arguments.file.as_deref(), &arguments.common)?;
    let of = arguments
        .file
        .as_ref()
        .map(|_| session.experiment.path.as_path());
    let mut list = Runs::new(&store).list(of)?;
    list.runs.truncate(arguments.limit.unwrap_or(usize::MAX));
    if arguments.common.json {
        let runs: Vec<Value> = list.runs.iter().map(brief).collect();
        return terminal::json(&json!({"runs": runs, "unreadable": list.unreadable}));
    }
    let rows: Vec<Vec<String>> = list.runs.iter().map(row).collect();
    terminal::out(&columns(&rows))?;
    note(&list.unreadable);
    Ok(())
}

/// Says on standard error which records were passed over.
fn note(unreadable: &[Unreadable]) {
    for Unreadable { run, problem } in unreadable {
        terminal::error(&format!("passed over run {run}: {}\n", plain(problem)));
    }
}

const CACHED: [PastState; 2] = [PastState::Cached, PastState::CutOff];

fn row(run: &PastRun) -> Vec<String> {
    vec![
        run.id.clone(),
        plain(&run.started),
        plain(&shown(&run.experiment)),
        state(run),
        counts(run),
        run.seconds.map_or("-".into(), duration),
        costs(run),
    ]
}

fn costs(run: &PastRun) -> String {
    let costs: Vec<String> = run
        .costs()
        .iter()
        .map(|cost| plain(&cost.to_string()))
        .collect();
    costs.join(", ")
}

fn counts(run: &PastRun) -> String {
    let parts = [
        (run.count(&[PastState::Ran]), "ran"),
        (run.count(&CACHED), "cached"),
        (run.count(&[PastState::Failed]), "failed"),
    ];
    let parts = parts.map(|(count, word)| format!("{count} {word}"));
    parts.join(", ")
}

fn brief(run: &PastRun) -> Value {
    json!({
        "id": run.id,
        "state": run.state,
        "experiment": run.experiment,
        "smoke": run.smoke,
        "started": run.started,
        "finished": run.finished,
        "seconds": run.seconds,
        "ran": run.count(&[PastState::Ran]),
        "cached": run.count(&CACHED),
        "failed": run.count(&[PastState::Failed]),
        "skipped": run.count(&[PastState::Skipped]),
        "costs": run.costs(),
    })
}

fn show(arguments: &RunArguments) -> Result<(), CliError> {
    let (session, store) = session(arguments.file.as_deref(), &arguments.common)?;
    let of = arguments
        .file
        .as_ref()
        .map(|_| session.experiment.path.as_path());
    let run = Runs::new(&store).find(&arguments.run, of)?;
    let timings = timings(&store, &run)?;
    if arguments.common.json {
        return terminal::json(&as_json(&run, &timings));
    }
    terminal::out(&as_text(&run, &timings))
}

/// What the results say of the time that the run's own stages took, by stage.
type Timings = BTreeMap<String, BTreeMap<String, f64>>;

fn timings(store: &Store, run: &PastRun) -> Result<Timings, CliError> {
    let mut timings = Timings::new();
    let ran = run
        .stages
        .iter()
        .filter(|stage| stage.state == PastState::Ran);
    for (stage, key) in ran.filter_map(|stage| Some((stage, stage.key?))) {
        let own = |record: &ActionRecord| record.provenance.run == run.id;
        if let Some(record) = store.record(&key)?.filter(own) {
            timings.insert(stage.name.clone(), record.provenance.timings);
        }
    }
    Ok(timings)
}

fn as_json(run: &PastRun, timings: &Timings) -> Value {
    let mut value = serde_json::to_value(run).unwrap_or_default();
    let stages = value["stages"].as_array_mut().into_iter().flatten();
    for (object, stage) in stages.zip(&run.stages) {
        object["timings"] = json!(timings.get(&stage.name));
    }
    let records: BTreeMap<&str, PathBuf> = run.records().into_iter().collect();
    value["records"] = json!(records);
    value
}

fn as_text(run: &PastRun, timings: &Timings) -> String {
    let pair = |name: &str, value: String| vec![format!("  {name}"), plain(&value)];
    let mut rows = vec![pair("experiment", shown(&run.experiment))];
    if run.smoke {
        rows.push(pair("rehearsal", "yes".into()));
    }
    rows.push(pair("started", run.started.clone()));
    if let Some(finished) = &run.finished {
        rows.push(pair("finished", finished.clone()));
    }
    if let Some(seconds) = run.seconds {
        rows.push(pair("took", duration(seconds)));
    }
    if !run.costs().is_empty() {
        rows.push(pair("cost", costs(run)));
    }
    rows.push(pair("host", run.host.clone()));
    rows.push(pair("process", run.pid.to_string()));
    rows.push(pair("moreline", run.moreline.clone()));
    for (name, path) in run.records() {
        rows.push(pair(name, shown(&path)));
    }
    let mut text = format!("{}  {}\n{}", run.id, state(run), columns(&rows));
    if !run.stages.is_empty() {
        let heading = terminal::paint(Colour::Green, "stages");
        let rows: Vec<Vec<String>> = run.stages.iter().map(stage_row).collect();
        text.push_str(&format!("\n{heading}\n{}", columns(&rows)));
    }
    let times: Vec<Vec<String>> = timings.iter().flat_map(time_rows).collect();
    if !times.is_empty() {
        let heading = terminal::paint(Colour::Green, "timings");
        text.push_str(&format!("\n{heading}\n{}", columns(&times)));
    }
    text
}

fn stage_row(stage: &PastStage) -> Vec<String> {
    let last = match (&stage.error, stage.kind, &stage.metrics) {
        (Some(error), ..) => plain(error.message.lines().next().unwrap_or_default()),
        (None, Some(kind), Some(metrics)) => headline(kind, metrics),
        _ => String::new(),
    };
    let api = stage.api.as_ref().map(|api| {
        let cost = api
            .cost
            .as_ref()
            .map(|cost| format!(", {}", plain(&cost.to_string())));
        let cost = cost.unwrap_or_default();
        format!("{} calls, {} tokens{cost}", api.calls, api.tokens)
    });
    let last: Vec<String> = [Some(last), api]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    vec![
        format!("  {}", plain(&stage.name)),
        stage.kind.map_or("-", |kind| kind.name()).into(),
        stage_state(stage.state),
        match stage.seconds > 0.0 {
            true => duration(stage.seconds),
            false => "-".into(),
        },
        stage.key.map_or("-".into(), |key| key.0.short()),
        last.join("; "),
    ]
}

fn time_rows((stage, timings): (&String, &BTreeMap<String, f64>)) -> Vec<Vec<String>> {
    let row = |(name, value): (&String, &f64)| {
        let value = super::table::number(*value);
        vec![format!("  {}", plain(stage)), plain(name), value]
    };
    timings.iter().map(row).collect()
}

fn state(run: &PastRun) -> String {
    let colour = match run.state {
        RunState::Complete => Colour::Green,
        RunState::Failed | RunState::Killed => Colour::Red,
        RunState::Stopped | RunState::Running | RunState::Unknown => Colour::Yellow,
    };
    match run.state {
        RunState::Unknown => {
            let text = format!("{} (host {})", run.state.name(), plain(&run.host));
            terminal::paint(colour, &text)
        }
        state => terminal::paint(colour, state.name()),
    }
}

fn stage_state(state: PastState) -> String {
    let colour = match state {
        PastState::Ran => Colour::Green,
        PastState::Cached | PastState::CutOff => Colour::Dim,
        PastState::Failed | PastState::Killed => Colour::Red,
        PastState::Skipped | PastState::Waiting | PastState::Running => Colour::Yellow,
    };
    terminal::paint(colour, state.name())
}

fn remove(arguments: &RemoveArguments) -> Result<(), CliError> {
    let (file, runs) = match arguments.runs.split_last() {
        Some((last, runs)) if last.contains('.') && !runs.is_empty() => {
            (Some(Path::new(last)), runs)
        }
        _ => (None, arguments.runs.as_slice()),
    };
    let (_, store) = session(file, &arguments.common)?;
    let removed = Runs::new(&store).remove(runs)?;
    if arguments.common.json {
        return terminal::json(&json!({"removed": removed}));
    }
    let lines: Vec<String> = removed.iter().map(|id| format!("removed {id}\n")).collect();
    terminal::out(&lines.concat())
}
