//! One stage, from its lock to its commit.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

use moreline_protocol::PROTOCOL_VERSION;
use moreline_protocol::artifact::{OutputName, outputs};
use moreline_protocol::event::{Event, Fingerprint, Level, Metrics};
use moreline_protocol::job::{Input, Job};

use super::StageFailure;
use super::context::Context;
use super::log::StageLog;
use super::metrics::not_a_number;
use super::resolve::{ReadyFrom, ReadyInput, ReadyStage};
use super::sources::Source;
use super::supervise;
use crate::config::StageDecl;
use crate::event::RunEvent;
use crate::store::{
    ActionRecord, Lookup, Provenance, RECORD_FORMAT, RecordedOutput, StoreError, host, make_dir,
    now_rfc3339, replace,
};

/// How a task ended.
pub(super) enum TaskEnd {
    /// The stage's result is in the store; `ran` if this task computed it.
    Done {
        record: Box<ActionRecord>,
        ran: bool,
    },
    /// It failed.
    Failed(StageFailure),
    /// The run was stopped.
    Stopped,
    /// An input was damaged: the stage of that index must run again first.
    Lost { from: usize },
}

/// Why a task cannot go on; every variant is an end of its own.
pub(super) enum Halt {
    Failed(StageFailure),
    Stopped,
    Lost { from: usize },
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stopped => Self::Stopped,
            other => Self::Failed(StageFailure::new(other.to_string())),
        }
    }
}

/// What computing a stage gave, besides its outputs.
#[derive(Default)]
pub(super) struct Computed {
    pub(super) metrics: Metrics,
    pub(super) timings: BTreeMap<String, f64>,
    pub(super) fingerprint: Option<Fingerprint>,
}

/// Starts a process from the run's permanent thread.
pub(super) type Spawn<'a> = dyn Fn(Command) -> io::Result<Child> + 'a;

/// One stage to compute.
pub(super) struct Task<'a> {
    pub(super) context: &'a Context<'a>,
    /// The stage's index.
    pub(super) index: usize,
    pub(super) stage: &'a StageDecl,
    pub(super) ready: ReadyStage,
    pub(super) reason: String,
    /// It is computed though its result is there.
    pub(super) forced: bool,
    /// The device it was given; none if the engine runs it itself.
    pub(super) device: Option<String>,
}

impl Task<'_> {
    /// Runs the stage, unless another process commits it first.
    pub(super) fn run(&self, spawn: &Spawn<'_>) -> TaskEnd {
        match self.try_run(spawn) {
            Ok(end) => end,
            Err(Halt::Failed(failure)) => TaskEnd::Failed(failure),
            Err(Halt::Stopped) => TaskEnd::Stopped,
            Err(Halt::Lost { from }) => TaskEnd::Lost { from },
        }
    }

    fn try_run(&self, spawn: &Spawn<'_>) -> Result<TaskEnd, Halt> {
        let store = &self.context.session.store;
        let key = &self.ready.key;
        let waiting = |holder| {
            self.context.event(&RunEvent::StageWaiting {
                stage: self.stage.name.clone(),
                holder,
            });
        };
        let _lock = store.stage_lock(key, &self.context.options.cancel, &waiting)?;
        let mut earlier = None;
        match store.lookup(key)? {
            Lookup::Committed(record) if !self.forced => {
                return Ok(TaskEnd::Done { record, ran: false });
            }
            Lookup::Committed(record) => {
                store.remove_partial(key)?;
                earlier = Some(record);
            }
            Lookup::Lost { digest, .. } => store.quarantine(&digest)?,
            Lookup::Absent => {}
        }
        if !self.forced
            && let Some(record) = self.context.fetch_result(key, self.stage)?
        {
            return Ok(TaskEnd::Done { record, ran: false });
        }
        self.context.event(&RunEvent::StageStarted {
            stage: self.stage.name.clone(),
            kind: self.stage.spec.kind(),
            reason: self.reason.clone(),
            device: self.device.clone(),
        });
        let record = Box::new(self.compute(spawn)?);
        if let Some(earlier) = earlier {
            self.compare(&earlier, &record);
        }
        store.commit(&record)?;
        store.remove_partial(key)?;
        self.context.give_result(&record);
        Ok(TaskEnd::Done { record, ran: true })
    }

    /// Says which outputs a forced stage gave otherwise than before.
    fn compare(&self, earlier: &ActionRecord, now: &ActionRecord) {
        let other = |(name, output): &(&String, &RecordedOutput)| {
            earlier
                .outputs
                .get(*name)
                .is_none_or(|before| before.digest != output.digest)
        };
        let names: Vec<_> = now
            .outputs
            .iter()
            .filter(other)
            .map(|(name, _)| &**name)
            .collect();
        if names.is_empty() {
            return;
        }
        self.context.event(&RunEvent::Log {
            stage: self.stage.name.clone(),
            level: Level::Warn,
            message: format!(
                "made anew, it gave other bytes than before in {}; the new ones are kept",
                names.join(", ")
            ),
        });
    }

    fn compute(&self, spawn: &Spawn<'_>) -> Result<ActionRecord, Halt> {
        let store = &self.context.session.store;
        let inputs = self.inputs()?;
        let attempt = match self.context.attempts.get() {
            Some(attempts) => attempts.create(&self.ready.key)?,
            None => return Err(self.fail("the run has no place to write to")),
        };
        let job = self.job(
            inputs,
            attempt.dir().join("out"),
            store.partial(&self.ready.key)?,
        );
        let (started, clock) = (now_rfc3339(), Instant::now());
        let mut computed = if self.device.is_some() {
            self.in_worker(&job, attempt.dir(), spawn)?
        } else {
            self.in_engine(&job)?
        };
        self.check_sources()?;
        if let Some(name) = not_a_number(&computed.metrics) {
            return Err(self.fail(format!("metric `{name}` is not a number (NaN or infinite)")));
        }
        let given = self.given(&job.output_dir);
        let outputs = store.take_outputs(&job.output_dir, &given)?;
        self.name_leftovers(&job.output_dir, &given);
        let provenance = self.provenance(started, clock, &mut computed);
        drop(attempt);
        let graph = &self.context.session.graph;
        let spec = &self.stage.spec;
        Ok(ActionRecord {
            format: RECORD_FORMAT,
            key: self.ready.key,
            stage: self.stage.name.clone(),
            kind: spec.kind(),
            version: spec.kind().version(),
            spec: serde_json::to_value(spec).unwrap_or_default(),
            inputs: self
                .ready
                .inputs
                .iter()
                .map(|i| i.recorded(graph))
                .collect(),
            outputs,
            metrics: computed.metrics,
            provenance,
        })
    }

    /// The inputs as the worker reads them. Bytes from the store are checked;
    /// what is damaged is set aside, for its stage to run again.
    fn inputs(&self) -> Result<Vec<Input>, Halt> {
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

    fn job(&self, inputs: Vec<Input>, output_dir: PathBuf, partial_dir: PathBuf) -> Job {
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

    fn in_worker(&self, job: &Job, attempt: &Path, spawn: &Spawn<'_>) -> Result<Computed, Halt> {
        let path = attempt.join("job.json");
        let bytes = serde_json::to_vec_pretty(job).unwrap_or_default();
        replace(&path, &bytes, false)?;
        let mut computed = supervise::run_worker(self, &path, spawn)?;
        let runner = self.context.options.runner;
        let more = guarded(|| runner.after_worker(job)).map_err(Halt::Failed)?;
        computed.metrics.extend(more.unwrap_or_default());
        Ok(computed)
    }

    fn in_engine(&self, job: &Job) -> Result<Computed, Halt> {
        make_dir(&job.partial_dir)?;
        let log = self.context.journal.log(&self.stage.name)?;
        let progress = |event| self.forward(event, &log);
        let (runner, cancel) = (self.context.options.runner, &self.context.options.cancel);
        match guarded(|| runner.run_in_engine(job, cancel, &progress)) {
            Ok(metrics) => Ok(Computed {
                metrics,
                ..Computed::default()
            }),
            Err(_) if self.context.is_stopped() => Err(Halt::Stopped),
            Err(failure) => Err(Halt::Failed(failure)),
        }
    }

    /// Passes an event on to whoever watches the run; log lines go to the
    /// stage's log as well.
    pub(super) fn forward(&self, event: Event, log: &StageLog) {
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

    /// A file that changed while the stage ran would leave its result under
    /// the key of other bytes.
    fn check_sources(&self) -> Result<(), Halt> {
        for input in &self.ready.inputs {
            let source = self.context.sources.get(&input.name);
            if let (ReadyFrom::Source(_), Some(Source::Ready(source))) = (&input.from, source)
                && let Some(path) = source.changed()
            {
                let path = path.display();
                let failure = StageFailure::new(format!("{path} changed while the stage ran"));
                return Err(Halt::Failed(failure.with_hint("run again")));
            }
        }
        Ok(())
    }

    /// The outputs a finished stage has to give, and the intermediate models
    /// it gives as well.
    fn given(&self, dir: &Path) -> Vec<String> {
        let declared = outputs(&self.stage.spec).iter();
        let mut given: Vec<String> = declared.map(|output| output.name.to_owned()).collect();
        if let Some((every, _)) = self.stage.spec.saves() {
            given.extend(entries(dir).filter(|name| {
                matches!(OutputName::parse_step(name),
                    Some(OutputName::Step(step)) if step.is_multiple_of(every))
            }));
        }
        given
    }

    fn name_leftovers(&self, dir: &Path, given: &[String]) {
        let names: Vec<_> = entries(dir).filter(|name| !given.contains(name)).collect();
        if !names.is_empty() {
            self.context.event(&RunEvent::Log {
                stage: self.stage.name.clone(),
                level: Level::Warn,
                message: format!(
                    "not kept, for no output has that name: {}",
                    names.join(", ")
                ),
            });
        }
    }

    fn provenance(&self, started: String, clock: Instant, computed: &mut Computed) -> Provenance {
        let spec = serde_json::to_value(&self.stage.spec).unwrap_or_default();
        let path = &self.context.session.graph.experiment().path;
        Provenance {
            moreline: env!("CARGO_PKG_VERSION").into(),
            run: self.context.journal.run().to_owned(),
            experiment: path.display().to_string(),
            git: self.context.git(),
            host: host(),
            resources: self.device.as_deref().map(|d| self.context.resources(d)),
            fingerprint: computed.fingerprint.take(),
            seed: spec["seed"].as_u64(),
            started,
            finished: now_rfc3339(),
            seconds: clock.elapsed().as_secs_f64(),
            timings: std::mem::take(&mut computed.timings),
        }
    }

    fn fail(&self, message: impl Into<String>) -> Halt {
        Halt::Failed(StageFailure::new(message))
    }
}

/// The names in a directory.
fn entries(dir: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.file_name().display().to_string()))
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
