//! A run's own record: `run.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alive::is_alive;
use super::events::EVENTS;
use crate::engine::RunSummary;
use crate::store::{host, read_at_most};

/// The record's name.
pub(in crate::engine) const RUN_FILE: &str = "run.json";
/// Largest of a run's records read, in bytes.
pub(in crate::engine) const MAX_FILE: u64 = 256 << 20;

/// After this time a run of another host is no longer taken for one that goes on.
/// One that goes on is heard of every minute.
const SILENCE: Duration = Duration::from_secs(3600);

/// The record: written at a run's start, and again with its summary.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine) struct RunFile {
    pub(in crate::engine) run: String,
    /// The experiment file, absolute.
    pub(in crate::engine) experiment: PathBuf,
    /// True for a rehearsal.
    #[serde(default)]
    pub(in crate::engine) smoke: bool,
    /// Version of this program.
    pub(in crate::engine) moreline: String,
    pub(in crate::engine) pid: u32,
    /// See [`super::process_started`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::engine) process_started: Option<u64>,
    pub(in crate::engine) host: String,
    /// RFC 3339, UTC.
    pub(in crate::engine) started: String,
    /// The same; absent if the run is not over, or was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::engine) finished: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::engine) summary: Option<RunSummary>,
}

impl RunFile {
    /// The record in a run's directory, or what is wrong with it.
    pub(super) fn read(dir: &Path, id: &str) -> Result<Self, String> {
        let bytes =
            read_at_most(&dir.join(RUN_FILE), MAX_FILE).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    format!("it has no {RUN_FILE} yet, or was killed before it had one")
                }
                _ => format!("{RUN_FILE} cannot be read: {error}"),
            })?;
        let file: Self = serde_json::from_slice(&bytes)
            .map_err(|error| format!("{RUN_FILE} is damaged: {error}"))?;
        if file.run != id {
            return Err(format!("{RUN_FILE} is that of another run"));
        }
        Ok(file)
    }

    /// The same without asking what is wrong.
    pub(super) fn peek(dir: &Path) -> Option<Self> {
        Self::read(dir, dir.file_name()?.to_str()?).ok()
    }

    /// Whether the run goes on, as far as this host can tell: an unfinished one
    /// of another host does.
    pub(super) fn goes_on(&self) -> bool {
        self.finished.is_none() && (self.host != host() || is_alive(self.pid, self.process_started))
    }

    /// True for an unfinished run of another host of which nothing was heard for
    /// long: whether it goes on cannot be told from here.
    pub(super) fn is_silent(&self, dir: &Path) -> bool {
        let heard = [EVENTS, RUN_FILE].map(|name| {
            let modified = fs::metadata(dir.join(name)).and_then(|file| file.modified());
            modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < SILENCE))
        });
        self.finished.is_none() && self.host != host() && heard == [false, false]
    }
}
