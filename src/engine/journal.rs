//! The journal of a run: `runs/ID/{run.json,events.jsonl,logs/STAGE.log}`, and
//! the curves of its trainings in `runs/ID/tensorboard/`.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use super::log::StageLog;
use super::runs::{EVENTS, RUN_FILE, RunFile, SNAPSHOT, Snapshot, log_path, process_started};
use super::tensorboard::TensorBoard;
use super::{Observer, RunSummary};
use crate::config::Experiment;
use crate::event::RunEvent;
use crate::store::{AtPath, StoreError, make_dir, nanos_now, now_rfc3339, replace};
use crate::store::{host, rfc3339, seconds_now};

/// Writes down what happens in a run, and passes it on to the observer.
pub(super) struct Journal<'a> {
    run: String,
    dir: PathBuf,
    /// Opened by the first event that is kept: what does not even start
    /// leaves nothing behind.
    events: OnceLock<Option<Mutex<File>>>,
    curves: Option<TensorBoard>,
    observer: &'a dyn Observer,
}

impl<'a> Journal<'a> {
    /// Starts a run's journal. Without one, for a cache that cannot be
    /// written, events still reach the observer. `curves` asks for TensorBoard
    /// files.
    pub(super) fn start(cache: &Path, observer: &'a dyn Observer, curves: bool) -> Self {
        let run = new_id();
        let dir = cache.join("runs").join(&run);
        Self {
            run,
            curves: curves.then(|| TensorBoard::new(dir.join("tensorboard"))),
            dir,
            events: OnceLock::new(),
            observer,
        }
    }

    /// The run's id.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Takes the next event.
    pub(super) fn event(&self, event: &RunEvent) {
        let lasting = !matches!(event, RunEvent::Progress { .. } | RunEvent::Fetching { .. });
        let open = || open_events(&self.dir).ok().map(Mutex::new);
        if lasting && let Some(file) = self.events.get_or_init(open) {
            let mut line = serde_json::to_vec(event).unwrap_or_default();
            line.push(b'\n');
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = file.write_all(&line);
        }
        if let Some(curves) = &self.curves {
            curves.event(event);
        }
        self.observer.event(event);
    }

    /// Gives a sign of life, for those who read the journal on other hosts.
    pub(super) fn beat(&self) {
        if let Some(Some(file)) = self.events.get() {
            let file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// The log of a stage: its standard error, and its log events.
    pub(super) fn log(&self, stage: &str) -> Result<StageLog, StoreError> {
        let path = log_path(&self.dir, stage);
        make_dir(path.parent().unwrap_or(&self.dir))?;
        Ok(StageLog::new(path))
    }

    /// Writes the run's own record: at its start, and again with the summary.
    pub(super) fn write(
        &self,
        experiment: &Experiment,
        started: &str,
        summary: Option<&RunSummary>,
    ) -> Result<(), StoreError> {
        let pid = std::process::id();
        let file = RunFile {
            run: self.run.clone(),
            experiment: experiment.path.clone(),
            smoke: experiment.smoke,
            moreline: env!("CARGO_PKG_VERSION").into(),
            pid,
            process_started: process_started(pid),
            host: host(),
            started: started.to_owned(),
            finished: summary.map(|_| now_rfc3339()),
            summary: summary.cloned(),
        };
        let bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        replace(&self.dir.join(RUN_FILE), &bytes, false)
    }

    /// Writes down what is being run, all resolved.
    pub(super) fn write_snapshot(&self, snapshot: &Snapshot<'_>) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(snapshot).unwrap_or_default();
        replace(&self.dir.join(SNAPSHOT), &bytes, false)
    }

    /// Removes the record of a run that turned out not to start.
    pub(super) fn discard(&self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn open_events(dir: &Path) -> Result<File, StoreError> {
    make_dir(dir)?;
    let path = dir.join(EVENTS);
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .at("write", &path)
}

/// `20260131T235959-1a2b3c`: sorts by time, and ends in a random number, for two
/// runs may begin in the same moment.
fn new_id() -> String {
    let time: String = rfc3339(seconds_now())
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == 'T')
        .collect();
    // The keys of a new state are random.
    let random = RandomState::new().hash_one(nanos_now());
    format!("{time}-{:06x}", random % (1 << 24))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::new_id;

    #[test]
    fn runs_of_one_moment_have_ids_of_their_own() {
        // By chance two of 64 in a second are equal once in 8,000 times, were they
        // all in the same second; in the same microsecond, always, without it.
        let ids: HashSet<String> = (0..64).map(|_| new_id()).collect();
        assert!(ids.len() >= 63, "{ids:?}");
    }
}
