//! The records of runs: `runs/ID` in the cache.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sources::Source;
use crate::config::Experiment;
use crate::digest::Digest;
use crate::plan::StageKey;
use crate::store::{Store, StoreError, entries, host, read_at_most, remove_dir};

/// The run's own record.
pub(super) const RUN_FILE: &str = "run.json";
/// What was run, all resolved.
pub(super) const SNAPSHOT: &str = "resolved.json";
/// Largest of a run's records read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// Runs kept without being asked; the oldest beyond that go.
pub(super) const KEPT: usize = 1000;

/// What a run's record says of its life.
#[derive(Deserialize)]
struct Life {
    pid: u32,
    host: String,
    /// Absent if the run is not over, or was killed.
    finished: Option<String>,
}

impl Life {
    /// Whether the run goes on, as far as this host can tell: an unfinished one
    /// of another host does.
    fn goes_on(&self) -> bool {
        self.finished.is_none() && (self.host != host() || is_alive(self.pid))
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

/// What a run that ended says of its stages.
#[derive(Deserialize)]
struct Ended {
    summary: EndedSummary,
}

#[derive(Deserialize)]
struct EndedSummary {
    stages: Vec<EndedStage>,
}

#[derive(Deserialize)]
struct EndedStage {
    key: Option<StageKey>,
}

/// What a run was about.
#[derive(Serialize)]
pub(super) struct Snapshot<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) sources: BTreeMap<&'a str, RunSource>,
}

/// A file or model as a run found it.
#[derive(Serialize)]
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

/// Removes the records of all runs but the newest `kept`, and of those that go
/// on; returns what went.
pub(super) fn prune(store: &Store, kept: usize) -> Result<Vec<String>, StoreError> {
    let gone = prunable(store, kept)?;
    for id in &gone {
        remove_dir(&store.root().join("runs").join(id))?;
    }
    Ok(gone)
}

/// The runs that [`prune`] removes.
pub(super) fn prunable(store: &Store, kept: usize) -> Result<Vec<String>, StoreError> {
    let dir = store.root().join("runs");
    let old = newest_first(store)?.into_iter().skip(kept);
    let is_over = |id: &String| !life(&dir.join(id)).is_some_and(|life| life.goes_on());
    Ok(old.filter(is_over).collect())
}

/// Keys of the stages that the newest runs computed or found.
pub(super) fn used_by_newest(store: &Store, runs: usize) -> Result<HashSet<StageKey>, StoreError> {
    let mut keys = HashSet::new();
    for id in newest_first(store)?.iter().take(runs) {
        let path = store.root().join("runs").join(id).join(RUN_FILE);
        let bytes = read_at_most(&path, MAX_FILE).unwrap_or_default();
        if let Ok(run) = serde_json::from_slice::<Ended>(&bytes) {
            keys.extend(run.summary.stages.into_iter().filter_map(|stage| stage.key));
        }
    }
    Ok(keys)
}

fn newest_first(store: &Store) -> Result<Vec<String>, StoreError> {
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    let paths = entries(&store.root().join("runs"))?.into_iter().rev();
    Ok(paths.filter_map(name).filter(|name| is_id(name)).collect())
}

fn life(run: &Path) -> Option<Life> {
    let bytes = read_at_most(&run.join(RUN_FILE), MAX_FILE).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// True for a name that can be a run's: nothing that leads elsewhere.
fn is_id(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(store: &Store, id: &str, record: &serde_json::Value) {
        let dir = store.root().join("runs").join(id);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(RUN_FILE), record.to_string()).unwrap();
    }

    #[test]
    fn the_oldest_runs_go_but_not_those_that_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_owned());
        let run = |pid: u32, finished: Option<&str>| serde_json::json!({"pid": pid, "host": host(), "finished": finished});
        let own = std::process::id();
        write(&store, "20260101T000000-000001", &run(own, None));
        write(&store, "20260101T000000-000002", &run(own, Some("then")));
        // No process has this number.
        write(
            &store,
            "20260101T000000-000003",
            &run(i32::MAX as u32, None),
        );
        write(&store, "20260101T000000-000004", &run(own, Some("then")));
        let gone = prune(&store, 1).unwrap();
        assert_eq!(gone, ["20260101T000000-000003", "20260101T000000-000002"]);
        let left = entries(&dir.path().join("runs")).unwrap().len();
        assert_eq!(left, 2);
    }
}
