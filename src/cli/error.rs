//! What ends a command, and with which exit code.

use std::path::PathBuf;

use thiserror::Error;

use super::terminal;
use crate::config::ConfigErrors;
use crate::engine::{EngineError, StageFailure};
use crate::report::ReportError;
use crate::store::StoreError;

/// All is well.
pub(super) const EXIT_OK: u8 = 0;
/// A stage failed.
pub(super) const EXIT_STAGE: u8 = 1;
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
    /// The engine could not run or answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The cache could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A name of a multiplied stage without its cell.
    #[error("failed to tell which cell of `{base}` is meant: there are {cells}")]
    WhichCell {
        /// The stage.
        base: String,
        /// Its cells.
        cells: String,
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
            Self::Config(_) | Self::WhichCell { .. } => EXIT_USAGE,
            Self::Engine(error) => match error {
                EngineError::Graph(_)
                | EngineError::Inputs(_)
                | EngineError::NoSuchStage { .. }
                | EngineError::NoResult { .. } => EXIT_USAGE,
                EngineError::Store(_) => EXIT_INTERNAL,
            },
            Self::Store(_)
            | Self::Report(_)
            | Self::Output(_)
            | Self::Read { .. }
            | Self::Environment { .. } => EXIT_INTERNAL,
        }
    }

    /// The message as it is shown.
    pub(super) fn render(&self) -> String {
        match self {
            Self::Config(errors) => errors.render(terminal::WIDTH, terminal::stderr_colours()),
            Self::Engine(EngineError::Inputs(problems)) => inputs(problems),
            other => {
                let label = terminal::paint_err(terminal::Colour::Red, "error:");
                format!("{label} {other}\n")
            }
        }
    }
}

/// What is wrong with the inputs of an experiment, all of it.
fn inputs(problems: &[StageFailure]) -> String {
    let mut text = String::new();
    for problem in problems {
        let mark = terminal::paint_err(terminal::Colour::Red, "×");
        let stage = problem.stage.as_ref();
        let stage = stage.map_or_else(String::new, |stage| format!("stage `{stage}`: "));
        text.push_str(&format!("  {mark} {stage}{}\n", problem.message));
        if let Some(hint) = &problem.hint {
            text.push_str(&format!("    help: {hint}\n"));
        }
    }
    let count = match problems.len() {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    };
    format!("{text}\n{count} in the inputs; nothing was run\n")
}
