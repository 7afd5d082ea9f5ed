//! Where a stage's log is: in the newest run that computed it.

use std::path::PathBuf;

use serde::Serialize;

use super::EngineError;
use super::log::LogTail;
use super::runs::{PastRun, PastStage, PastState, RunState, Runs, StageWatch, log_path};
use super::session::Session;
use crate::config::{Experiment, Site, closest};
use crate::plan::StageKey;
use crate::store::Store;

/// The log of a stage, and of which run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageLogs {
    /// The run that computed the stage, or does.
    pub run: PastRun,
    /// The stage in that run; its name may have been another.
    pub stage: PastStage,
    /// The log's file. A stage that said nothing has none.
    pub log: PathBuf,
}

impl StageLogs {
    fn new(run: PastRun, stage: PastStage) -> Self {
        Self {
            log: log_path(&run.directory, &stage.name),
            run,
            stage,
        }
    }

    /// Reads the log from its start.
    pub fn tail(&self) -> LogTail {
        LogTail::new(self.log.clone())
    }

    /// Watches for the stage's end.
    ///
    /// # Errors
    /// The run's events cannot be read.
    pub fn watch(&self) -> std::io::Result<StageWatch> {
        StageWatch::new(&self.run, &self.stage.name)
    }
}

/// Finds the log of a stage: in the run named, else in the newest run of the
/// experiment that began to compute it, else in the run that computed its present
/// result. With `follow` a run that goes on and has not come to the stage yet is
/// found as well. Takes no locks.
///
/// # Errors
/// No such stage or run, or nothing is kept of the run that computed it.
pub fn find_logs(
    experiment: &Experiment,
    site: &Site,
    stage: &str,
    run: Option<&str>,
    follow: bool,
) -> Result<StageLogs, EngineError> {
    let session = Session::open(experiment, site)?;
    let runs = Runs::new(&session.store);
    let found = match run {
        Some(reference) => Some(runs.find(reference, Some(&experiment.path))?),
        None => {
            session.index(stage)?;
            runs.newest(|run| {
                let own = run.experiment == experiment.path && run.smoke == experiment.smoke;
                own && (began(run, stage) || (follow && will_come_to(run, stage)))
            })?
        }
    };
    match found {
        Some(run) => in_run(&session, run, stage),
        None => {
            let key = present_key(&session, stage)?;
            computed(&session.store, stage, key)
        }
    }
}

/// The log of a stage in a run, or in the earlier one whose result it took.
fn in_run(session: &Session<'_>, run: PastRun, stage: &str) -> Result<StageLogs, EngineError> {
    let Some(past) = run.stage(stage).cloned() else {
        if run.state == RunState::Running {
            return Ok(StageLogs::new(run, PastStage::waiting(stage)));
        }
        let names = run.stages.iter().map(|stage| stage.name.as_str());
        return Err(EngineError::NoSuchStage {
            near: closest(stage, names).map(str::to_owned),
            name: stage.to_owned(),
        });
    };
    match past.state {
        PastState::Cached | PastState::CutOff => {
            let key = match past.key {
                None => present_key(session, stage)?,
                known => known,
            };
            computed(&session.store, stage, key)
        }
        PastState::Skipped => {
            let why = past.error.map_or_else(String::new, |error| error.message);
            let id = &run.id;
            Err(no_log(stage, format!("run {id} did not come to it: {why}")))
        }
        _ => Ok(StageLogs::new(run, past)),
    }
}

fn began(run: &PastRun, stage: &str) -> bool {
    run.stage(stage)
        .is_some_and(|stage| stage.state.was_begun())
}

fn will_come_to(run: &PastRun, stage: &str) -> bool {
    run.state == RunState::Running && run.stage(stage).is_none_or(|stage| !stage.state.is_over())
}

/// The key of a stage as it is written now.
fn present_key(session: &Session<'_>, stage: &str) -> Result<Option<StageKey>, EngineError> {
    let index = session.index(stage)?;
    let mut seen = session.look()?.into_iter();
    Ok(seen
        .find(|seen| seen.index == index)
        .and_then(|seen| seen.key))
}

/// The run that computed a result.
fn computed(store: &Store, stage: &str, key: Option<StageKey>) -> Result<StageLogs, EngineError> {
    let record = match key {
        Some(key) => store.record(&key)?,
        None => None,
    };
    let Some(record) = record else {
        return Err(no_log(stage, "no run computed it yet".into()));
    };
    let id = &record.provenance.run;
    let run = Runs::new(store).find(id, None);
    let gone = |_| no_log(stage, format!("run {id} computed it, whose record is gone"));
    let run = run.map_err(gone)?;
    match run.stage(&record.stage).cloned() {
        Some(past) => Ok(StageLogs::new(run, past)),
        None => Err(no_log(stage, format!("run {id} has no record of it"))),
    }
}

fn no_log(stage: &str, reason: String) -> EngineError {
    EngineError::NoLog {
        stage: stage.to_owned(),
        reason,
    }
}
