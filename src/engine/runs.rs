//! The records of runs: `runs/ID` in the cache.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RunSummary;
use super::sources::Source;
use crate::config::Experiment;
use crate::digest::Digest;
use crate::store::{Store, StoreError, entries, host, read_at_most, remove_dir};

/// The run's own record.
pub(super) const RUN_FILE: &str = "run.json";
/// What was run, all resolved.
pub(super) const SNAPSHOT: &str = "resolved.json";
/// Largest of a run's records read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// Runs kept without being asked; the oldest beyond that go.
pub(super) const KEPT: usize = 1000;

/// A run's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub run: String,
    /// The experiment file.
    pub experiment: PathBuf,
    /// The version of this program.
    pub moreline: String,
    /// The process.
    pub pid: u32,
    /// The host.
    pub host: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC; absent if the run is not over, or was killed.
    #[serde(default)]
    pub finished: Option<String>,
    /// What it did; absent like `finished`.
    #[serde(default)]
    pub summary: Option<RunSummary>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Every stage's result is in the store.
    Complete,
    /// A stage failed.
    Failed,
    /// It was stopped.
    Stopped,
    /// It goes on, as far as this host can tell.
    Running,
    /// Its process is gone and left no summary.
    Killed,
}

impl RunState {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Killed => "killed",
        }
    }
}

impl RunRecord {
    /// How the run ended. A run of another host without a summary counts as
    /// running.
    pub fn state(&self) -> RunState {
        match &self.summary {
            Some(summary) if summary.stopped => RunState::Stopped,
            Some(summary) if summary.is_complete() => RunState::Complete,
            Some(_) => RunState::Failed,
            None if self.host != host() || is_alive(self.pid) => RunState::Running,
            None => RunState::Killed,
        }
    }
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| {
        let signalled = rustix::process::test_kill_process(pid);
        // Another user's process may not be signalled, but it is there.
        signalled.is_ok() || signalled == Err(rustix::io::Errno::PERM)
    })
}

/// What a run was about.
#[derive(Serialize)]
pub(super) struct Snapshot<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) sources: BTreeMap<&'a str, RunSource>,
}

/// A file or model as a run found it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunSource {
    pub(super) path: PathBuf,
    pub(super) digest: Digest,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(
        experiment: &'a Experiment,
        sources: &'a std::collections::HashMap<String, Source>,
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

/// The runs of a cache.
#[derive(Debug, Clone, Copy)]
pub struct Runs<'a> {
    store: &'a Store,
}

impl<'a> Runs<'a> {
    /// The runs of this cache.
    pub fn of(store: &'a Store) -> Self {
        Self { store }
    }

    fn dir(&self) -> PathBuf {
        self.store.root().join("runs")
    }

    /// The ids of all runs, newest first.
    pub fn ids(&self) -> Result<Vec<String>, StoreError> {
        let paths = entries(&self.dir())?.into_iter().rev();
        let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Ok(paths.filter_map(name).filter(|name| is_id(name)).collect())
    }

    /// Removes all but the newest `kept` runs, and returns what went.
    pub fn prune(&self, kept: usize, dry_run: bool) -> Result<Vec<String>, StoreError> {
        let mut gone = Vec::new();
        for id in self.ids()?.into_iter().skip(kept) {
            let record: Option<RunRecord> = self.read(&id, RUN_FILE);
            if record.is_some_and(|run| run.state() == RunState::Running) {
                continue;
            }
            if !dry_run {
                remove_dir(&self.dir().join(&id))?;
            }
            gone.push(id);
        }
        Ok(gone)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, id: &str, file: &str) -> Option<T> {
        let read = || -> io::Result<T> {
            let bytes = read_at_most(&self.dir().join(id).join(file), MAX_FILE)?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        read().ok()
    }
}

/// True for a name that can be a run's: nothing that leads elsewhere.
fn is_id(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
