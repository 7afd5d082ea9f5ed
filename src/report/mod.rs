//! The report of an experiment: one model, one file per format.
//!
//! * [`input`]: what a report is made from, gathered by the engine.
//! * `build`: the input to a format-independent [`Report`]: sections of
//!   sentences, tables and charts as data.
//! * `svg`: charts as data to inline SVG.
//! * `html`, `markdown`, `json`: one [`Exporter`] each.
//!
//! The same input gives the same bytes: nothing here reads a clock, a random
//! number or the environment. All that differs between machines and days is
//! [`input::RunFacts`], shown in one place of each format.

mod artifacts;
mod build;
mod error;
mod evaluations;
mod exporter;
mod html;
pub mod input;
mod json;
mod markdown;
mod model;
mod number;
mod results;
mod svg;
#[cfg(test)]
mod tests;
mod view;
mod xml;

use std::path::{Path, PathBuf};

pub use error::ReportError;
pub use exporter::Exporter;
pub use input::{ReportInput, ReportStage, RunFacts, StageStatus};
pub use model::Report;

/// Where [`write()`] put the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportPaths {
    /// One self-contained page.
    pub html: PathBuf,
    /// The same in Markdown, without the charts.
    pub markdown: PathBuf,
    /// Every stage with its parameters, metrics and timings.
    pub json: PathBuf,
}

/// Writes `report.html`, `report.md` and `results.json` into `dir`, which is
/// made if it does not exist, from an [`crate::engine::RunView`] or a
/// [`ReportInput`] (which can be told what a run did, by
/// [`ReportInput::with_run`]). Results that are missing are named in the
/// report; they are no error.
pub fn write<'a>(
    input: impl Into<std::borrow::Cow<'a, ReportInput>>,
    dir: &Path,
) -> Result<ReportPaths, ReportError> {
    let report = Report::build(&input.into(), dir);
    std::fs::create_dir_all(dir).map_err(|cause| ReportError::write(dir, cause))?;
    Ok(ReportPaths {
        html: export(&html::Html, &report, dir)?,
        markdown: export(&markdown::Markdown, &report, dir)?,
        json: export(&json::Json, &report, dir)?,
    })
}

/// Writes one format through a temporary file, so that a reader never meets
/// half a report.
fn export(exporter: &dyn Exporter, report: &Report, dir: &Path) -> Result<PathBuf, ReportError> {
    let path = dir.join(exporter.file_name());
    let text = exporter.render(report)?;
    let fail = |cause| ReportError::write(&path, cause);
    let mut file = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(dir)
        .map_err(fail)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(fail)?;
    file.persist(&path).map_err(|cause| fail(cause.error))?;
    Ok(path)
}
