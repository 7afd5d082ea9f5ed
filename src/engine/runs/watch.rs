//! Waiting for the end of a stage of a run, without a lock.

use std::io;
use std::path::PathBuf;

use super::events::Events;
use super::file::RunFile;
use super::past::{PastRun, PastStage};

/// Watches a stage of a run that goes on.
#[derive(Debug)]
pub struct StageWatch {
    directory: PathBuf,
    stage: String,
    events: Events,
}

impl StageWatch {
    /// Watches a stage by the run's events.
    pub(in crate::engine) fn new(run: &PastRun, stage: &str) -> io::Result<Self> {
        Ok(Self {
            directory: run.directory.clone(),
            stage: stage.to_owned(),
            events: Events::open(&run.directory)?,
        })
    }

    /// What the run says of the stage by now.
    ///
    /// # Errors
    /// The run's events cannot be read.
    pub fn look(&mut self) -> io::Result<Option<&PastStage>> {
        self.events.read()?;
        let mut stages = self.events.stages.iter();
        Ok(stages.find(|stage| stage.name == self.stage))
    }

    /// True once the stage, or the whole run, is over.
    ///
    /// # Errors
    /// The run's events cannot be read.
    pub fn is_over(&mut self) -> io::Result<bool> {
        let over = self.look()?.is_some_and(|stage| stage.state.is_over());
        let goes_on = || RunFile::peek(&self.directory).is_some_and(|file| file.goes_on());
        Ok(over || !goes_on())
    }
}
