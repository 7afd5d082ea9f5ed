//! One stage, from its lock to its commit.

mod given;
mod job;

use std::collections::BTreeMap;
use std::io;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use moreline_protocol::event::{Fingerprint, Metrics};

use super::StageFailure;
use super::context::Context;
use super::metrics::not_a_number;
use super::resolve::{ReadyFrom, ReadyStage};
use super::sources::Source;
use crate::config::StageDecl;
use crate::event::RunEvent;
use crate::store::{
    ActionRecord, ApiCost, Lookup, Provenance, RECORD_FORMAT, StoreError, host, now_rfc3339,
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
    /// An input was found damaged while the stage was at work: whether it read
    /// sound bytes is not known.
    Tainted,
}

/// Why a task cannot go on; every variant is an end of its own.
pub(super) enum Halt {
    Failed(StageFailure),
    Stopped,
    Lost { from: usize },
    Tainted,
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
    pub(super) cost: Option<ApiCost>,
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
    /// Takes what the worker is seen to hold, in MB.
    pub(super) seen: Arc<AtomicU64>,
    /// Set once an input is found damaged.
    pub(super) tainted: Arc<AtomicBool>,
}

impl Task<'_> {
    /// Runs the stage, unless another process commits it first.
    pub(super) fn run(&self, spawn: &Spawn<'_>) -> TaskEnd {
        match self.try_run(spawn) {
            Ok(end) => end,
            Err(Halt::Failed(failure)) => TaskEnd::Failed(failure),
            Err(Halt::Stopped) => TaskEnd::Stopped,
            Err(Halt::Lost { from }) => TaskEnd::Lost { from },
            Err(Halt::Tainted) => TaskEnd::Tainted,
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
        // As late as can be: what is committed is believed.
        if self.tainted.load(Ordering::Relaxed) {
            return Err(Halt::Tainted);
        }
        store.commit(&record)?;
        store.remove_partial(key)?;
        Ok(TaskEnd::Done { record, ran: true })
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
            cost: computed.cost.take(),
        }
    }

    fn fail(&self, message: impl Into<String>) -> Halt {
        Halt::Failed(StageFailure::new(message))
    }
}
