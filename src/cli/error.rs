//! What ends a command, and with which exit code.

use std::path::PathBuf;

use serde_json::{Value, json};
use thiserror::Error;

use super::findings::Findings;
use super::terminal;
use crate::config::{ConfigError, ConfigErrors};
use crate::engine::{EngineError, StageFailure};
use crate::records::RecordsError;
use crate::report::ReportError;
use crate::store::StoreError;

/// All is well.
pub(super) const EXIT_OK: u8 = 0;
/// A stage failed.
pub(super) const EXIT_STAGE: u8 = 1;
/// A question was answered with "not the same" or "not all there".
pub(super) const EXIT_DIFFERENT: u8 = 1;
/// The experiment file, its inputs or the command line are wrong.
pub(super) const EXIT_USAGE: u8 = 2;
/// Reading, writing or the program itself failed.
pub(super) const EXIT_INTERNAL: u8 = 3;
/// Stopped by the user.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// Why a command could not do what it was asked.
#[derive(Debug, Error)]
pub(super) enum CliError {
    /// The experiment or site file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The experiment, the site file or their inputs are wrong.
    #[error("{}", .0.count())]
    Wrong(Box<Findings>),
    /// The engine could not run or answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The cache could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Rows could not be read or written.
    #[error("failed to {}{}", .0, hint(.0))]
    Records(#[from] RecordsError),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file that is to be written is there.
    #[error("failed to write {}: it exists; remove it, or choose another name", .0.display())]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("failed to write {}: {cause}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A name of a multiplied stage without its cell.
    #[error("failed to tell which cell of `{base}` is meant: there are {cells}")]
    WhichCell {
        /// The stage.
        base: String,
        /// Its cells.
        cells: String,
    },
    /// Digits that stand for no key, and no experiment to look for a stage in.
    #[error(
        "failed to find a result `{name}`: give its key (`moreline status FILE --json` lists them), \
         or the experiment whose stage it is with --file"
    )]
    NoSuchKey {
        /// What was given.
        name: String,
    },
    /// There are no metrics, or none of that name.
    #[error("failed to find metrics: {reason}")]
    NoMetrics {
        /// Why, and the way out.
        reason: String,
    },
    /// Standard output could not be written.
    #[error("failed to write to standard output: {0}")]
    Output(std::io::Error),
    /// A file could not be read.
    #[error("failed to read {}: {cause}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The environment lacks something.
    #[error("failed to find {what}: {cause}")]
    Environment {
        /// What.
        what: &'static str,
        /// Why.
        cause: std::io::Error,
    },
}

impl CliError {
    /// The process's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Wrong(_)
            | Self::WhichCell { .. }
            | Self::NoSuchKey { .. }
            | Self::NoMetrics { .. }
            | Self::Usage(_)
            | Self::Exists(_)
            | Self::Store(StoreError::NotEmpty(_))
            | Self::Engine(EngineError::Store(StoreError::NotEmpty(_))) => EXIT_USAGE,
            Self::Engine(EngineError::Store(StoreError::Stopped))
            | Self::Store(StoreError::Stopped) => EXIT_INTERRUPTED,
            Self::Engine(error) => match error {
                EngineError::Graph(_)
                | EngineError::Inputs(_)
                | EngineError::NoSuchStage { .. }
                | EngineError::NothingSelected
                | EngineError::ForcedNotSelected { .. }
                | EngineError::NoResult { .. }
                | EngineError::NoSuchRun { .. }
                | EngineError::WhichRun { .. }
                | EngineError::NoRuns { .. }
                | EngineError::BadRun { .. }
                | EngineError::RunGoesOn { .. }
                | EngineError::NoLog { .. } => EXIT_USAGE,
                EngineError::Store(_) => EXIT_INTERNAL,
            },
            Self::Read { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => EXIT_USAGE,
            Self::Records(RecordsError::Write { .. }) => EXIT_INTERNAL,
            Self::Records(_) => EXIT_USAGE,
            Self::Store(_)
            | Self::Report(_)
            | Self::Write { .. }
            | Self::Output(_)
            | Self::Read { .. }
            | Self::Environment { .. } => EXIT_INTERNAL,
        }
    }

    /// The one object that `--json` prints instead of a result.
    pub(super) fn as_json(&self) -> Value {
        let (message, problems) = match self {
            Self::Config(errors) => {
                let problems = errors.errors.iter().map(config_problem).collect();
                (errors.to_string(), problems)
            }
            Self::Wrong(findings) => (findings.count(), findings.problems()),
            Self::Engine(EngineError::Inputs(problems)) => {
                let objects = problems.iter().map(input_problem).collect();
                (input_count(problems.len()), objects)
            }
            other => (other.to_string(), Vec::new()),
        };
        error_object(&message, problems, self.exit_code())
    }

    /// The message as it is shown.
    pub(super) fn render(&self) -> String {
        match self {
            Self::Config(errors) => errors.render(terminal::WIDTH, terminal::stderr_colours()),
            Self::Wrong(findings) => findings.render(),
            Self::Engine(EngineError::Inputs(problems)) => {
                format!("{}\n{}\n", inputs(problems), input_count(problems.len()))
            }
            other => {
                let label = terminal::paint_err(terminal::Colour::Red, "error:");
                format!("{label} {other}\n")
            }
        }
    }
}

fn hint(error: &RecordsError) -> String {
    let hint = error.hint();
    hint.map_or_else(String::new, |hint| format!("\n  help: {hint}"))
}

/// `{"error": {"message", "problems"}, "exit_code"}`.
pub(super) fn error_object(message: &str, problems: Vec<Value>, exit_code: u8) -> Value {
    json!({
        "error": {"message": message, "problems": problems},
        "exit_code": exit_code,
    })
}

pub(super) fn config_problem(error: &ConfigError) -> Value {
    let place = error.place();
    let place = place.as_ref();
    json!({
        "message": error.message(),
        "hint": error.hint(),
        "file": place.map(|place| &place.file),
        "line": place.and_then(|place| place.line),
        "column": place.and_then(|place| place.column),
    })
}

pub(super) fn input_problem(problem: &StageFailure) -> Value {
    let place = problem.place.as_ref();
    json!({
        "message": format!("failed to {}", problem.message),
        "hint": problem.hint,
        "stage": problem.stage,
        "file": place.map(|place| &place.file),
        "line": place.and_then(|place| place.line),
        "column": place.and_then(|place| place.column),
    })
}

pub(super) fn input_count(problems: usize) -> String {
    let errors = match problems {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    };
    format!("{errors} in the inputs; nothing was run")
}

/// What is wrong with the inputs of an experiment, all of it.
pub(super) fn inputs(problems: &[StageFailure]) -> String {
    let mut text = String::new();
    for problem in problems {
        let mark = terminal::paint_err(terminal::Colour::Red, "×");
        let stage = problem.stage.as_ref();
        let stage = stage.map_or_else(String::new, |stage| format!("stage `{stage}`: "));
        let message = problem.message.replace('\n', "\n    ");
        text.push_str(&format!("  {mark} {stage}failed to {message}\n"));
        if let Some(hint) = &problem.hint {
            text.push_str(&format!("    help: {hint}\n"));
        }
    }
    text
}
