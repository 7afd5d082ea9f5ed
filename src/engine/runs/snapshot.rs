//! What a run was about, all resolved: `resolved.json`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::Serialize;

use crate::config::Experiment;
use crate::digest::Digest;
use crate::engine::sources::Source;

/// The record's name.
pub(in crate::engine) const SNAPSHOT: &str = "resolved.json";

/// The record as it is written.
#[derive(Serialize)]
pub(in crate::engine) struct Snapshot<'a> {
    pub(in crate::engine) experiment: &'a Experiment,
    pub(in crate::engine) sources: BTreeMap<&'a str, RunSource>,
}

/// A file or model as a run found it.
#[derive(Serialize)]
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
