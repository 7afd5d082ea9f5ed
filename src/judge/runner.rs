//! What the engine calls to run what it does not understand itself.

use std::sync::atomic::AtomicBool;

use moreline_protocol::event::{Event, Metrics};
use moreline_protocol::job::Job;
use moreline_protocol::spec::StageSpec;

use super::finish_embedded;
use super::remote::{Remote, judge_remote};
use crate::config::{Experiment, Site};
use crate::engine::{Finished, KnownInputs, StageFailure, StageRunner};
use crate::records;

/// Looks a variable up in the environment the command line was started in.
pub type Lookup = dyn Fn(&str) -> Option<String> + Sync;

/// Runs record stages and judges.
pub struct Runner<'a> {
    /// The endpoints.
    pub site: &'a Site,
    /// Gives the value of an environment variable; asked for keys only.
    pub lookup: &'a Lookup,
}

impl StageRunner for Runner<'_> {
    fn run_in_engine(
        &self,
        job: &Job,
        cancel: &AtomicBool,
        progress: &dyn Fn(Event),
    ) -> Result<Finished, StageFailure> {
        match &job.spec {
            StageSpec::Judge(spec) => {
                let remote = Remote::new(spec, self.site, self.lookup)?;
                Ok(judge_remote(job, &remote, cancel, progress)?)
            }
            _ => Ok(records::run_stage(job, progress)?.into()),
        }
    }

    fn after_worker(&self, job: &Job) -> Result<Option<Metrics>, StageFailure> {
        match &job.spec {
            StageSpec::Judge(spec) if spec.endpoint.is_none() => {
                Ok(Some(finish_embedded(job, spec)?))
            }
            _ => Ok(None),
        }
    }

    fn check_inputs(&self, experiment: &Experiment, known: &dyn KnownInputs) -> Vec<StageFailure> {
        let mut problems = records::check_inputs(experiment, known);
        for stage in &experiment.stages {
            if let StageSpec::Judge(spec) = &stage.spec
                && spec.endpoint.is_some()
                && let Err(error) = Remote::new(spec, self.site, self.lookup)
            {
                problems.push(StageFailure::from(error).of_stage(&stage.name));
            }
        }
        problems
    }
}
