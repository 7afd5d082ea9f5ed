//! `moreline export`.

use super::args::ExportArguments;
use super::error::CliError;
use super::run::shown;
use super::session::Session;
use super::terminal;
use crate::engine;
use crate::records;

/// Copies a stage's main output to a directory of its own.
pub(super) fn run(arguments: &ExportArguments) -> Result<(), CliError> {
    let session = Session::open(&arguments.experiment)?;
    let name = session.stage_name(&arguments.stage)?;
    let files = engine::export(
        &session.experiment,
        &session.site,
        &name,
        &arguments.directory,
    )?;
    let mut files = files;
    if arguments.published {
        files.push(records::write_published(&arguments.directory)?);
    }
    let lines: Vec<String> = files
        .iter()
        .map(|file| format!("{}\n", shown(file)))
        .collect();
    terminal::out(&lines.concat())
}
