//! What is wrong with the inputs of a run, all of it before anything runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::sources::{ReadySource, Source};
use super::{EngineError, KnownInputs, StageFailure, StageRunner};
use crate::config::{Experiment, RowsDecl};
use crate::digest::{Canonical, Digest};
use crate::store::Store;

/// What to do about a file that is not there.
pub const FIND: &str = "put it there, or mend the path in the experiment file";

/// The inputs of the stages that a run is about.
pub(super) struct Inputs<'a> {
    pub(super) runner: &'a dyn StageRunner,
    /// Only those stages.
    pub(super) experiment: &'a Experiment,
}

/// Checks remembered by the bytes of the sources.
struct Remembered<'a> {
    store: &'a Store,
    sources: HashMap<&'a Path, &'a ReadySource>,
}

impl<'a> Remembered<'a> {
    fn new(store: &'a Store, sources: &'a HashMap<String, Source>) -> Self {
        let ready = |source: &'a Source| match source {
            Source::Ready(source) => Some((source.path.as_path(), source)),
            Source::Missing(_) | Source::Unpinned(_) => None,
        };
        Self {
            store,
            sources: sources.values().filter_map(ready).collect(),
        }
    }

    fn name(&self, path: &Path, way: &str) -> Option<Digest> {
        let mut name = Canonical::new("moreline input check 1");
        name.digest(&self.sources.get(path)?.digest);
        name.str(way);
        Some(name.finish())
    }
}

impl KnownInputs for Remembered<'_> {
    fn is_sound(&self, path: &Path, way: &str) -> bool {
        self.name(path, way)
            .is_some_and(|name| self.store.is_checked(&name))
    }

    fn found_sound(&self, path: &Path, way: &str) {
        // What was read may not be what was hashed, if it changed meanwhile.
        let same = self
            .sources
            .get(path)
            .is_some_and(|s| s.changed().is_none());
        if let Some(name) = self.name(path, way).filter(|_| same) {
            self.store.remember_check(&name);
        }
    }

    fn fetched(&self, rows: &RowsDecl) -> Option<PathBuf> {
        let file = rows.hub.as_ref()?;
        Some(self.store.hub_file(file, &rows.sha256?))
    }
}

impl Inputs<'_> {
    /// Reports missing files together with whatever else is wrong. Files are
    /// read only if something is missing, or a model must be fetched: a run
    /// that computes nothing has no need of it. True if they were.
    pub(super) fn check_sources(
        &self,
        sources: &HashMap<String, Source>,
        store: &Store,
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
        missing.extend(self.problems(sources, store));
        match missing.is_empty() {
            true => Ok(true),
            false => Err(EngineError::Inputs(missing)),
        }
    }

    /// Reports everything wrong with the files' contents.
    pub(super) fn check(
        &self,
        sources: &HashMap<String, Source>,
        store: &Store,
    ) -> Result<(), EngineError> {
        let problems = self.problems(sources, store);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(EngineError::Inputs(problems)),
        }
    }

    fn problems(&self, sources: &HashMap<String, Source>, store: &Store) -> Vec<StageFailure> {
        let known = Remembered::new(store, sources);
        self.runner.check_inputs(self.experiment, &known)
    }
}
