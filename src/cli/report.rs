//! `moreline report`, and the report at the end of a run.

use std::fs;
use std::path::Path;

use super::args::ReportArguments;
use super::error::CliError;
use super::run::shown;
use super::session::Session;
use super::terminal;
use crate::digest::Digest;
use crate::engine::{self, RunView};
use crate::report::{self, ReportPaths};

/// The file that says what the report beside it was made from.
const STAMP: &str = ".report-of";

/// A report that is current.
pub(super) struct Written {
    /// Where it is.
    pub(super) paths: ReportPaths,
}

/// Writes the report of the results there are.
pub(super) fn run(arguments: &ReportArguments) -> Result<(), CliError> {
    let session = Session::open(&arguments.experiment)?;
    let written = match &arguments.out {
        Some(directory) => Written {
            paths: report::write(&inspect(&session)?, directory)?,
        },
        None => refresh(&session)?,
    };
    let paths = &written.paths;
    let lines: Vec<String> = [&paths.html, &paths.markdown, &paths.json]
        .iter()
        .map(|path| format!("{}\n", shown(path)))
        .collect();
    terminal::out(&lines.concat())
}

/// Writes the report beside the experiment, unless the one there was made from
/// the same results by the same version.
pub(super) fn refresh(session: &Session) -> Result<Written, CliError> {
    let view = inspect(session)?;
    let directory = engine::output_dir(&session.experiment);
    let stamp = stamp(&view);
    if let Some(paths) = current(&directory, &stamp) {
        return Ok(Written { paths });
    }
    let paths = report::write(&view, &directory)?;
    // Without the stamp the report is written again next time: no harm done.
    let _ = fs::write(directory.join(STAMP), &stamp);
    Ok(Written { paths })
}

fn inspect(session: &Session) -> Result<RunView, CliError> {
    Ok(engine::inspect(&session.experiment, &session.site)?)
}

fn stamp(view: &RunView) -> String {
    let mut bytes = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
    bytes.extend(serde_json::to_vec(view).unwrap_or_default());
    Digest::of(&bytes).to_string()
}

fn current(directory: &Path, stamp: &str) -> Option<ReportPaths> {
    let paths = ReportPaths {
        html: directory.join("report.html"),
        markdown: directory.join("report.md"),
        json: directory.join("results.json"),
    };
    let same = fs::read_to_string(directory.join(STAMP)).is_ok_and(|found| found == stamp);
    let there = [&paths.html, &paths.markdown, &paths.json]
        .iter()
        .all(|path| path.is_file());
    (same && there).then_some(paths)
}
