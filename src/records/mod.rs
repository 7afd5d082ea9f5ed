//! Stages that need no model: `select` and `import`; and the check of every
//! input file before anything runs.
//!
//! Each stage is a pure function over records between a reader and a writer of
//! row files, so a run of it costs what reading its input costs.

mod best_of;
mod check;
mod error;
mod import;
mod output;
mod published;
mod select;
mod tokenizer;

use moreline_protocol::event::{Event, Metrics};
use moreline_protocol::job::{Input, Job};
use moreline_protocol::spec::StageSpec;

pub use best_of::expected_best;
pub use check::{check_inputs, missing_inputs};
pub use error::RecordsError;
pub use import::{Imported, import_file};
pub(crate) use output::write_rows;
pub use published::write_published;

/// Runs a `select` or `import` stage: writes its output into the job's output
/// directory and returns its metrics.
///
/// # Errors
/// Bad input rows, nothing selected or imported, or a failed write.
pub fn run_stage(job: &Job, progress: &dyn Fn(Event)) -> Result<Metrics, RecordsError> {
    match &job.spec {
        StageSpec::Select(spec) => select::run(job, spec),
        StageSpec::Import(spec) => import::run(job, spec, progress),
        other => Err(RecordsError::NotARecordStage(other.kind().name())),
    }
}

/// The job's only input of a role.
pub(crate) fn input<'a>(job: &'a Job, role: &'static str) -> Result<&'a Input, RecordsError> {
    job.input(role).ok_or(RecordsError::NoInput(role))
}

/// Metrics from a JSON object literal.
pub(crate) fn metrics(value: serde_json::Value) -> Metrics {
    match value {
        serde_json::Value::Object(fields) => fields,
        _ => Metrics::new(),
    }
}

#[cfg(test)]
mod tests;
