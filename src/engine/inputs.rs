//! What is wrong with the inputs of a run, all of it before anything runs.

use std::collections::HashMap;

use super::sources::Source;
use super::{EngineError, StageFailure, StageRunner};
use crate::config::Experiment;

/// What to do about a file that is not there.
pub const FIND: &str = "put it there, or mend the path in the experiment file";

/// The inputs of the stages that a run is about.
pub(super) struct Inputs<'a> {
    pub(super) runner: &'a dyn StageRunner,
    /// Only those stages.
    pub(super) experiment: &'a Experiment,
}

impl Inputs<'_> {
    /// Reports missing files together with whatever else is wrong. Files are
    /// read only if something is missing, or a model must be fetched: a run
    /// that computes nothing has no need of it. True if they were.
    pub(super) fn check_sources(
        &self,
        sources: &HashMap<String, Source>,
    ) -> Result<bool, EngineError> {
        let mut missing: Vec<_> = sources
            .values()
            .filter_map(|source| match source {
                Source::Missing(what) => {
                    Some(StageFailure::new(format!("find {what}")).with_hint(FIND))
                }
                _ => None,
            })
            .collect();
        let unpinned = sources
            .values()
            .any(|source| matches!(source, Source::Unpinned(_)));
        if missing.is_empty() && !unpinned {
            return Ok(false);
        }
        missing.sort_by(|a, b| a.message.cmp(&b.message));
        missing.extend(self.runner.check_inputs(self.experiment));
        match missing.is_empty() {
            true => Ok(true),
            false => Err(EngineError::Inputs(missing)),
        }
    }

    /// Reports everything wrong with the files' contents.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        let problems = self.runner.check_inputs(self.experiment);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(EngineError::Inputs(problems)),
        }
    }
}
