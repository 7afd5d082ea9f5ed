//! What a stage is given, and the doing of it: in a worker, or here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use moreline_protocol::PROTOCOL_VERSION;
use moreline_protocol::event::Event;
use moreline_protocol::job::{Input, Job};

use super::{Computed, Halt, Spawn, Task};
use crate::engine::log::StageLog;
use crate::engine::resolve::{ReadyFrom, ReadyInput};
use crate::engine::{Finished, StageFailure, supervise};
use crate::event::RunEvent;
use crate::store::{StoreError, make_dir, replace};

impl Task<'_> {
    /// The inputs as the worker reads them. Bytes from the store are checked;
    /// what is damaged is set aside, for its stage to run again.
    pub(super) fn inputs(&self) -> Result<Vec<Input>, Halt> {
        let input = |input: &ReadyInput| {
            Ok(Input {
                role: input.role.to_owned(),
                name: input.label.clone(),
                artifact: input.artifact,
                path: self.input_path(input)?,
                rows: input.rows,
            })
        };
        self.ready.inputs.iter().map(input).collect()
    }

    fn input_path(&self, input: &ReadyInput) -> Result<PathBuf, Halt> {
        let store = &self.context.session.store;
        match &input.from {
            ReadyFrom::Source(path) => Ok(path.clone()),
            ReadyFrom::Stage {
                index,
                output,
                recorded,
            } => match store.verified_view(&output.to_string(), recorded) {
                Ok(path) => Ok(path),
                Err(StoreError::Damaged { digest, .. }) => {
                    store.quarantine(&digest)?;
                    Err(Halt::Lost { from: *index })
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    pub(super) fn job(&self, inputs: Vec<Input>, output_dir: PathBuf, partial_dir: PathBuf) -> Job {
        let device = self.device.as_deref().unwrap_or("cpu");
        Job {
            protocol: PROTOCOL_VERSION,
            stage: self.stage.name.clone(),
            spec: self.stage.spec.clone(),
            inputs,
            output_dir,
            partial_dir,
            wanted_steps: self.context.session.graph.wanted_steps(self.index),
            resources: self.context.resources(device),
        }
    }

    pub(super) fn in_worker(
        &self,
        job: &Job,
        attempt: &Path,
        spawn: &Spawn<'_>,
    ) -> Result<Computed, Halt> {
        let path = attempt.join("job.json");
        let bytes = serde_json::to_vec_pretty(job).unwrap_or_default();
        replace(&path, &bytes, false)?;
        let mut computed = supervise::run_worker(self, &path, spawn)?;
        let runner = self.context.options.runner;
        let more = guarded(|| runner.after_worker(job)).map_err(Halt::Failed)?;
        computed.metrics.extend(more.unwrap_or_default());
        Ok(computed)
    }

    pub(super) fn in_engine(&self, job: &Job) -> Result<Computed, Halt> {
        make_dir(&job.partial_dir)?;
        let log = self.context.journal.log(&self.stage.name)?;
        let progress = |event| self.forward(event, &log);
        let (runner, cancel) = (self.context.options.runner, &self.context.options.cancel);
        match guarded(|| runner.run_in_engine(job, cancel, &progress)) {
            Ok(Finished { metrics, cost }) => Ok(Computed {
                metrics,
                cost,
                ..Computed::default()
            }),
            Err(_) if self.context.is_stopped() => Err(Halt::Stopped),
            Err(failure) => Err(Halt::Failed(failure)),
        }
    }

    /// Passes an event on to whoever watches the run; log lines go to the
    /// stage's log as well.
    pub(in crate::engine) fn forward(&self, event: Event, log: &StageLog) {
        let stage = self.stage.name.clone();
        let event = match event {
            Event::Progress {
                phase,
                done,
                total,
                unit,
            } => RunEvent::Progress {
                stage,
                phase,
                done,
                total,
                unit,
            },
            Event::Scalars { step, values } => RunEvent::Scalars {
                stage,
                step,
                values,
            },
            Event::Log { level, message } => {
                log.line(&message);
                RunEvent::Log {
                    stage,
                    level,
                    message,
                }
            }
            Event::Started { .. } | Event::Finished { .. } | Event::Failed { .. } => return,
        };
        self.context.event(&event);
    }
}

/// Turns a panic of the code above the engine into a failure of the stage.
fn guarded<T>(call: impl FnOnce() -> Result<T, StageFailure>) -> Result<T, StageFailure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(StageFailure::new(format!(
            "this is a bug: the stage's code panicked: {text}"
        )))
    })
}
