//! `moreline run`.

use std::path::Path;

use super::args::RunArguments;
use super::error::{CliError, EXIT_INTERRUPTED, EXIT_OK, EXIT_STAGE};
use super::headline::headline;
use super::interrupt;
use super::progress::{Detail, Progress};
use super::report::{self, Written};
use super::session::{self, Session};
use super::table::{columns, duration};
use super::terminal::{self, Colour};
use crate::engine::{self, RunOptions, RunSummary, StageSummary};
use crate::event::Outcome;
use crate::judge::Runner;

/// Runs an experiment; the exit code.
pub(super) fn run(arguments: &RunArguments) -> Result<u8, CliError> {
    let session = Session::open_for_run(&arguments.experiment)?;
    let runner = Runner {
        site: &session.site,
        lookup: &session::lookup,
    };
    let options = RunOptions {
        jobs: arguments.jobs.map(usize::from),
        selection: arguments.selection.selection(),
        fail_fast: arguments.fail_fast,
        cancel: interrupt::flag(),
        environment: session::environment(&session.site),
        runner: &runner,
        worker: session::worker()?,
    };
    let progress = Progress::new(detail(arguments));
    let result = engine::run(&session.experiment, &session.site, &options, &progress);
    progress.clear();
    let summary = result?;
    let written = (!summary.stopped).then(|| report::refresh(&session));
    let written = written.transpose();
    // A report that cannot be written must not hide what the run did.
    tell(
        arguments,
        &summary,
        written.as_ref().ok().and_then(Option::as_ref),
    )?;
    if let Err(error) = written {
        // Not returned: with `--json` the one object is printed already.
        terminal::error(&error.render());
        return Ok(error.exit_code());
    }
    if summary.stopped {
        let command = session::command_line();
        terminal::error(&format!(
            "stopped; finished stages are kept. To go on: {command}\n"
        ));
        return Ok(EXIT_INTERRUPTED);
    }
    Ok(if summary.is_complete() {
        EXIT_OK
    } else {
        EXIT_STAGE
    })
}

fn detail(arguments: &RunArguments) -> Detail {
    if arguments.quiet {
        Detail::Quiet
    } else if terminal::stderr_redraws() {
        Detail::Bars
    } else {
        Detail::Lines
    }
}

fn tell(
    arguments: &RunArguments,
    summary: &RunSummary,
    written: Option<&Written>,
) -> Result<(), CliError> {
    if arguments.json {
        return terminal::json(summary);
    }
    if arguments.quiet {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = summary.stages.iter().map(row).collect();
    let mut text = columns(&rows);
    text.push_str(&totals(summary));
    if let Some(written) = written {
        text.push_str(&format!("report: {}\n", shown(&written.paths.html)));
    }
    terminal::out(&text)
}

fn row(stage: &StageSummary) -> Vec<String> {
    let last = match (&stage.error, &stage.metrics) {
        (Some(error), _) => first_line(&error.message).to_owned(),
        (None, Some(metrics)) => headline(stage.kind, metrics),
        (None, None) => String::new(),
    };
    let seconds = if stage.seconds > 0.0 {
        duration(stage.seconds)
    } else {
        "-".into()
    };
    vec![
        stage.name.clone(),
        stage.kind.name().into(),
        state(stage.state),
        seconds,
        last,
    ]
}

fn state(state: Outcome) -> String {
    let (colour, word) = match state {
        Outcome::Ran => (Colour::Green, "ran"),
        Outcome::Cached => (Colour::Dim, "cached"),
        Outcome::CutOff => (Colour::Dim, "cut-off"),
        Outcome::Failed => (Colour::Red, "failed"),
        Outcome::Skipped => (Colour::Yellow, "skipped"),
    };
    terminal::paint(colour, word)
}

fn totals(summary: &RunSummary) -> String {
    let count = |wanted: &[Outcome]| {
        let stages = summary.stages.iter();
        stages.filter(|stage| wanted.contains(&stage.state)).count()
    };
    let mut parts = vec![
        format!("{} ran", count(&[Outcome::Ran])),
        format!("{} cached", count(&[Outcome::Cached, Outcome::CutOff])),
    ];
    for (state, word) in [(Outcome::Failed, "failed"), (Outcome::Skipped, "skipped")] {
        match count(&[state]) {
            0 => {}
            some => parts.push(format!("{some} {word}")),
        }
    }
    let took = if summary.seconds < 1.0 {
        format!("{:.0} ms", summary.seconds * 1000.0)
    } else {
        duration(summary.seconds)
    };
    format!("{} in {took}\n", parts.join(", "))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A path as short as it can be written here.
pub(super) fn shown(path: &Path) -> String {
    let here = std::path::absolute(".").ok();
    let relative = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf));
    relative.as_deref().unwrap_or(path).display().to_string()
}
