//! What a run was about, all resolved: `resolved.json`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::MAX_FILE;
use crate::config::Experiment;
use crate::digest::Digest;
use crate::engine::sources::{ReadySource, Source};
use crate::store::read_at_most;

/// The record's name.
pub(in crate::engine) const SNAPSHOT: &str = "resolved.json";

/// The record as it is written.
#[derive(Serialize)]
pub(in crate::engine) struct Snapshot<'a> {
    pub(in crate::engine) experiment: &'a Experiment,
    pub(in crate::engine) sources: BTreeMap<&'a str, RunSource>,
}

/// The record as it is read.
#[derive(Debug, Deserialize)]
pub(in crate::engine) struct PastSnapshot {
    pub(in crate::engine) experiment: Experiment,
    pub(in crate::engine) sources: BTreeMap<String, RunSource>,
}

/// A file or model as a run found it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine) struct RunSource {
    pub(in crate::engine) path: PathBuf,
    pub(in crate::engine) digest: Digest,
}

impl<'a> Snapshot<'a> {
    pub(in crate::engine) fn new(
        experiment: &'a Experiment,
        sources: &'a HashMap<String, Source>,
    ) -> Self {
        let ready = |(name, source): (&'a String, &Source)| match source {
            Source::Ready(source) => Some((
                name.as_str(),
                RunSource {
                    path: source.path.clone(),
                    digest: source.digest,
                },
            )),
            Source::Missing(_) | Source::Unpinned(_) => None,
        };
        Self {
            experiment,
            sources: sources.iter().filter_map(ready).collect(),
        }
    }
}

impl PastSnapshot {
    /// The record in a run's directory, or what is wrong with it.
    pub(in crate::engine) fn read(run: &Path) -> Result<Self, String> {
        let bytes = read_at_most(&run.join(SNAPSHOT), MAX_FILE)
            .map_err(|error| format!("{SNAPSHOT} cannot be read: {error}"))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            format!("{SNAPSHOT} is damaged, or of another version of this program: {error}")
        })
    }

    /// The sources as they were.
    pub(in crate::engine) fn sources(&self) -> HashMap<String, Source> {
        let ready = |(name, source): (&String, &RunSource)| {
            let source = ReadySource::past(source.path.clone(), source.digest);
            (name.clone(), Source::Ready(source))
        };
        self.sources.iter().map(ready).collect()
    }
}
