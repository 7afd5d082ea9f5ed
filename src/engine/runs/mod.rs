//! The records of runs: `runs/ID` in the cache.
//!
//! Whoever reads them takes no lock: a record is replaced in one step, and what
//! is appended may end in the middle of a line. A record that cannot be read is
//! passed over, with a note of what is wrong with it.

mod alive;
mod events;
mod file;
mod kept;
mod past;
mod snapshot;
mod watch;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::EngineError;
use crate::config::{Experiment, closest};
use crate::store::{Store, StoreError, entries, remove_dir, unique_name};
pub(super) use alive::process_started;
pub(super) use events::EVENTS;
pub(super) use file::{RUN_FILE, RunFile};
pub(super) use kept::{prunable, prune, used_by_newest};
pub use past::{ApiUse, PastRun, PastStage, PastState, RunState};
pub(super) use snapshot::{PastSnapshot, SNAPSHOT, Snapshot};
pub use watch::StageWatch;

/// Runs kept without being asked; the oldest beyond that go.
pub(super) const KEPT: usize = 1000;
/// What names the newest run.
pub const LATEST: &str = "latest";
/// Runs that a message lists.
const LISTED: usize = 5;

/// The runs of a cache.
#[derive(Debug)]
pub struct Runs<'a> {
    store: &'a Store,
}

/// The runs there are, newest first, and the records that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<PastRun>,
    /// What was passed over.
    pub unreadable: Vec<Unreadable>,
}

/// A run's record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The run.
    pub run: String,
    /// What is wrong with it.
    pub problem: String,
}

impl<'a> Runs<'a> {
    /// The runs of a store.
    pub fn new(store: &'a Store) -> Self {
        Self { store }
    }

    fn dir(&self) -> PathBuf {
        self.store.root().join("runs")
    }

    /// The ids of all runs, newest first.
    fn ids(&self) -> Result<Vec<String>, StoreError> {
        let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let newest_first = entries(&self.dir())?.into_iter().rev();
        let ids = newest_first.filter_map(name).filter(|name| is_id(name));
        Ok(ids.collect())
    }

    /// All runs, newest first; those of one experiment file if one is given.
    ///
    /// # Errors
    /// The folder of runs cannot be read.
    pub fn list(&self, of: Option<&Path>) -> Result<RunList, EngineError> {
        let mut list = RunList::default();
        for id in self.ids()? {
            match PastRun::read(&self.dir().join(&id), &id) {
                Ok(run) if of.is_none_or(|path| run.experiment == path) => list.runs.push(run),
                Ok(_) => {}
                Err(problem) => list.unreadable.push(Unreadable { run: id, problem }),
            }
        }
        Ok(list)
    }

    /// The newest run that fits, records that cannot be read left out.
    pub(super) fn newest(
        &self,
        fits: impl Fn(&PastRun) -> bool,
    ) -> Result<Option<PastRun>, EngineError> {
        let read = |id: &String| PastRun::read(&self.dir().join(id), id).ok();
        Ok(self.ids()?.iter().filter_map(read).find(fits))
    }

    /// The run of this id, or of the only one that begins so; `latest` is the
    /// newest, of the experiment file if one is given.
    ///
    /// # Errors
    /// There is no such run, there are several, or its record cannot be read.
    pub fn find(&self, reference: &str, of: Option<&Path>) -> Result<PastRun, EngineError> {
        if reference == LATEST {
            let fits = |run: &PastRun| of.is_none_or(|path| run.experiment == path);
            return self.newest(fits)?.ok_or_else(|| EngineError::NoRuns {
                experiment: of.map(Path::to_owned),
            });
        }
        let id = self.id(reference)?;
        let run = PastRun::read(&self.dir().join(&id), &id);
        run.map_err(|problem| EngineError::BadRun { run: id, problem })
    }

    /// The newest run of an experiment of which is kept what was run.
    ///
    /// # Errors
    /// There is none.
    pub fn last_of(&self, experiment: &Experiment) -> Result<PastRun, EngineError> {
        let path = &experiment.path;
        let fits = |run: &PastRun| {
            let own = run.experiment == *path && run.smoke == experiment.smoke;
            own && run.directory.join(SNAPSHOT).is_file()
        };
        self.newest(fits)?.ok_or_else(|| EngineError::NoRuns {
            experiment: Some(path.clone()),
        })
    }

    /// The id that a reference names.
    fn id(&self, reference: &str) -> Result<String, EngineError> {
        let ids = self.ids()?;
        if ids.iter().any(|id| id == reference) {
            return Ok(reference.to_owned());
        }
        let begins = |id: &&String| !reference.is_empty() && id.starts_with(reference);
        let found: Vec<&String> = ids.iter().filter(begins).collect();
        match found.as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(EngineError::NoSuchRun {
                near: closest(reference, ids.iter().map(String::as_str)).map(str::to_owned),
                run: reference.to_owned(),
            }),
            several => Err(EngineError::WhichRun {
                run: reference.to_owned(),
                count: several.len(),
                newest: several
                    .iter()
                    .take(LISTED)
                    .map(|id| (*id).clone())
                    .collect(),
            }),
        }
    }

    /// Removes the records of runs, by their ids or what they begin with; returns
    /// what went. A record that cannot be read goes too. Results stay.
    ///
    /// # Errors
    /// One of them is not there or still goes on: then none is removed.
    pub fn remove(&self, references: &[String]) -> Result<Vec<String>, EngineError> {
        let mut ids = Vec::new();
        for reference in references {
            let id = match reference.as_str() {
                LATEST => self.find(LATEST, None)?.id,
                other => self.id(other)?,
            };
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        for id in &ids {
            if let Some(file) = RunFile::peek(&self.dir().join(id))
                && file.goes_on()
                && !file.is_silent(&self.dir().join(id))
            {
                return Err(EngineError::RunGoesOn {
                    run: id.clone(),
                    pid: file.pid,
                    host: file.host,
                });
            }
        }
        for id in &ids {
            self.remove_one(id)?;
        }
        Ok(ids)
    }

    /// Takes a record away in one step, so that nobody reads half of it.
    fn remove_one(&self, id: &str) -> Result<(), StoreError> {
        let dir = self.dir().join(id);
        // What a killed process leaves there, the next run removes.
        let aside = self.store.root().join("attempts").join(unique_name(id));
        match std::fs::rename(&dir, &aside) {
            Ok(()) => remove_dir(&aside),
            Err(_) => remove_dir(&dir),
        }
    }
}

/// The log of a stage in a run's directory.
pub(super) fn log_path(run: &Path, stage: &str) -> PathBuf {
    run.join("logs")
        .join(format!("{}.log", super::file_name(stage)))
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
    use serde_json::{Value, json};

    use super::*;
    use crate::store::host;

    const IDS: [&str; 4] = [
        "20260101T000000-000001",
        "20260101T000000-000002",
        "20260101T000000-000003",
        "20260102T000000-000004",
    ];

    fn record(id: &str, pid: u32, finished: Option<&str>) -> Value {
        json!({"run": id, "experiment": "/e.toml", "moreline": "0", "pid": pid,
               "host": host(), "started": "then", "finished": finished})
    }

    fn write(store: &Store, id: &str, record: &Value) {
        let dir = store.root().join("runs").join(id);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(RUN_FILE), record.to_string()).unwrap();
    }

    /// One that goes on, one that is over, one that was killed, one that is over.
    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_owned());
        let own = std::process::id();
        // No process has this number.
        let nobody = i32::MAX as u32;
        let ends = [
            (own, None),
            (own, Some("then")),
            (nobody, None),
            (own, Some("then")),
        ];
        for (id, (pid, finished)) in IDS.iter().zip(ends) {
            write(&store, id, &record(id, pid, finished));
        }
        (dir, store)
    }

    #[test]
    fn the_oldest_runs_go_but_not_those_that_go_on() {
        let (dir, store) = store();
        let gone = prune(&store, 1).unwrap();
        assert_eq!(gone, [IDS[2], IDS[1]]);
        let left = entries(&dir.path().join("runs")).unwrap().len();
        assert_eq!(left, 2);
    }

    #[test]
    fn a_process_of_the_same_number_that_began_later_is_another() {
        let (_dir, store) = store();
        let own = std::process::id();
        let mut other = record(IDS[0], own, None);
        other["process_started"] = json!(process_started(own).unwrap() + 1);
        write(&store, IDS[0], &other);
        let runs = Runs::new(&store);
        assert_eq!(runs.find(IDS[0], None).unwrap().state, RunState::Killed);
        other["process_started"] = json!(process_started(own).unwrap());
        write(&store, IDS[0], &other);
        assert_eq!(runs.find(IDS[0], None).unwrap().state, RunState::Running);
    }

    #[test]
    fn of_a_silent_run_of_another_host_nothing_is_known() {
        let (dir, store) = store();
        let mut elsewhere = record(IDS[0], 1, None);
        elsewhere["host"] = json!("another");
        write(&store, IDS[0], &elsewhere);
        let runs = Runs::new(&store);
        let state = || runs.find(IDS[0], None).unwrap().state;
        assert_eq!(state(), RunState::Running);
        assert!(runs.remove(&[IDS[0].to_owned()]).is_err());
        let place = dir.path().join("runs").join(IDS[0]);
        let mut options = std::fs::File::options();
        let file = options.append(true).open(place.join(RUN_FILE));
        file.unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(state(), RunState::Unknown);
        std::fs::write(place.join(EVENTS), "").unwrap();
        assert_eq!(state(), RunState::Running);
        std::fs::remove_file(place.join(EVENTS)).unwrap();
        assert_eq!(runs.remove(&[IDS[0].to_owned()]).unwrap(), [IDS[0]]);
    }

    #[test]
    fn runs_are_found_by_what_they_begin_with() {
        let (_dir, store) = store();
        let runs = Runs::new(&store);
        let found = |reference: &str| runs.find(reference, None).map(|run| run.id);
        assert_eq!(found("20260102").unwrap(), IDS[3]);
        assert_eq!(found(IDS[1]).unwrap(), IDS[1]);
        assert_eq!(found(LATEST).unwrap(), IDS[3]);
        let message = |reference: &str| found(reference).unwrap_err().to_string();
        insta::assert_snapshot!(message("20260101"), @"failed to tell which run `20260101` is: 3 begin so: 20260101T000000-000003, 20260101T000000-000002, 20260101T000000-000001; write more of the id");
        insta::assert_snapshot!(message("20260101T000000-00004"), @"failed to find run `20260101T000000-00004`; did you mean `20260101T000000-000001`?");
        insta::assert_snapshot!(message("../x"), @"failed to find run `../x`; `moreline runs list` shows the runs there are");
        let none = runs.find(LATEST, Some(Path::new("/other.toml")));
        insta::assert_snapshot!(none.unwrap_err(), @"failed to find a run of /other.toml; `moreline run` makes one");
    }

    #[test]
    fn a_run_that_goes_on_is_not_removed_and_nothing_with_it() {
        let (_dir, store) = store();
        let runs = Runs::new(&store);
        let both = [IDS[1].to_owned(), IDS[0].to_owned()];
        let error = runs.remove(&both).unwrap_err().to_string();
        assert!(error.contains("still goes on"), "{error}");
        assert_eq!(runs.ids().unwrap().len(), 4);
        let gone = runs
            .remove(&[IDS[1].to_owned(), IDS[1].to_owned()])
            .unwrap();
        assert_eq!(gone, [IDS[1]]);
        assert_eq!(runs.ids().unwrap().len(), 3);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_with_a_note() {
        let (dir, store) = store();
        let place = |id: &str| dir.path().join("runs").join(id);
        for (id, bytes) in [
            ("20260103T000000-00000a", &b"{\"run\": \"20260103T0"[..]),
            ("20260103T000000-00000b", &b"[[[[[[[["[..]),
            ("20260103T000000-00000c", &b"\xff\xfe\0\0"[..]),
        ] {
            std::fs::create_dir_all(place(id)).unwrap();
            std::fs::write(place(id).join(RUN_FILE), bytes).unwrap();
        }
        std::fs::create_dir_all(place("20260103T000000-00000d").join(RUN_FILE)).unwrap();
        std::fs::create_dir_all(place("20260103T000000-00000e")).unwrap();
        std::fs::create_dir_all(place("no id")).unwrap();
        let other = record(IDS[0], 1, Some("then"));
        write(&store, "20260103T000000-00000f", &other);
        let list = Runs::new(&store).list(None).unwrap();
        let ids: Vec<&str> = list.runs.iter().map(|run| run.id.as_str()).collect();
        assert_eq!(ids, [IDS[3], IDS[2], IDS[1], IDS[0]]);
        let notes: Vec<&str> = list
            .unreadable
            .iter()
            .map(|unreadable| unreadable.problem.as_str())
            .collect();
        insta::assert_snapshot!(notes.join("\n"));
        let bad = Runs::new(&store).find("20260103T000000-00000a", None);
        assert!(bad.unwrap_err().to_string().contains("moreline runs rm"));
    }
}
