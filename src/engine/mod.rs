//! Schedules stages, runs them, and commits what they give.

mod error;
mod options;
mod runner;
mod summary;
mod view;

pub use error::EngineError;
pub use options::{Environment, Observer, RunOptions, Silent};
pub use runner::{StageFailure, StageRunner};
pub use summary::{RunSummary, StageSummary};
pub use view::{RunView, StageView};

use std::path::{Path, PathBuf};

use crate::config::{Experiment, Site};
use crate::plan::Plan;

/// Runs what is not in the store yet, and reports on every stage. A stage that
/// fails takes down only what depends on it; the summary tells.
pub fn run(
    experiment: &Experiment,
    site: &Site,
    options: &RunOptions<'_>,
    observer: &dyn Observer,
) -> Result<RunSummary, EngineError> {
    let _ = (experiment, site, options, observer);
    unimplemented!()
}

/// What [`run`] would do. Reads only, takes no locks.
pub fn plan(experiment: &Experiment, site: &Site) -> Result<Plan, EngineError> {
    let _ = (experiment, site);
    unimplemented!()
}

/// Every stage with its record, if committed, and readable paths of its
/// outputs. Takes no locks; writes nothing but views of directories.
pub fn inspect(experiment: &Experiment, site: &Site) -> Result<RunView, EngineError> {
    let _ = (experiment, site);
    unimplemented!()
}

/// Copies the main output of a committed stage to `to`, which must be absent
/// or empty: a directory's entries, or one file. Returns the paths written.
pub fn export(
    experiment: &Experiment,
    site: &Site,
    stage: &str,
    to: &Path,
) -> Result<Vec<PathBuf>, EngineError> {
    let _ = (experiment, site, stage, to);
    unimplemented!()
}

/// The directory beside the experiment file that takes its outputs:
/// `outputs/NAME`, or `outputs/NAME.smoke` for a rehearsal.
pub fn output_dir(experiment: &Experiment) -> PathBuf {
    let beside = experiment.path.parent().unwrap_or(Path::new("."));
    let suffix = if experiment.smoke { ".smoke" } else { "" };
    beside
        .join("outputs")
        .join(format!("{}{suffix}", experiment.name))
}

/// The cache directory: the site's, else `cache` beside the nearest
/// `Cargo.toml` or `.git` above the experiment, else `.moreline-cache` beside it.
pub fn cache_dir(experiment: &Experiment, site: &Site) -> PathBuf {
    if let Some(cache) = &site.cache {
        return cache.clone();
    }
    let beside = experiment.path.parent().unwrap_or(Path::new("."));
    beside
        .ancestors()
        .find(|dir| dir.join("Cargo.toml").exists() || dir.join(".git").exists())
        .map_or_else(|| beside.join(".moreline-cache"), |dir| dir.join("cache"))
}
