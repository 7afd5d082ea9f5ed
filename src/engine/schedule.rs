//! Which stage runs when: a stage is looked at once everything it depends on
//! is done, and computed if the store does not have it.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread::Scope;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use moreline_protocol::event::{Level, Metrics};

use super::context::Context;
use super::resolve::{Outputs, ReadyStage, Resolved, present, resolve};
use super::selection::Chosen;
use super::session::FORCED;
use super::task::{Task, TaskEnd};
use super::{EngineError, StageFailure, StageSummary, beside, output_dir};
use crate::event::{Outcome, RunEvent};
use crate::plan::{Graph, StageKey};
use crate::store::{ActionRecord, Lookup};

/// How often the scheduler looks at the stop flag.
const POLL: Duration = Duration::from_millis(100);
/// Times a stage is computed anew because its output was damaged.
const MAX_REBUILDS: u32 = 2;

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not asked for.
    Unwanted,
    /// Something it depends on is not done.
    Waiting,
    /// It has to be computed, when there is room.
    Queued,
    Running,
    Over(Outcome),
}

struct Node {
    phase: Phase,
    /// It is computed though its result is there, once.
    forced: bool,
    /// Stages it depends on that are not done.
    pending: usize,
    /// While it is made anew: the stages that wait for it. Otherwise all that
    /// depend on it do.
    waiters: Option<Vec<usize>>,
    rebuilds: u32,
    ready: Option<(ReadyStage, String)>,
    outputs: Option<Arc<Outputs>>,
    key: Option<StageKey>,
    seconds: f64,
    metrics: Option<Metrics>,
    error: Option<StageFailure>,
}

enum Message {
    /// A task asks for a process.
    Spawn(Command, Sender<io::Result<Child>>),
    /// A task is over.
    Over {
        index: usize,
        device: Option<String>,
        seconds: f64,
        end: Box<TaskEnd>,
    },
}

/// Runs the wanted stages; their summaries, in running order. `prepare` is
/// called once, before the first stage is computed.
pub(super) fn run(
    context: &Context<'_>,
    chosen: &Chosen,
    prepare: &mut dyn FnMut() -> Result<(), EngineError>,
) -> Result<Vec<StageSummary>, EngineError> {
    let mut scheduler = Scheduler::new(context, chosen);
    scheduler.settle();
    if !scheduler.queued.is_empty() && !context.is_stopped() {
        prepare()?;
        scheduler.work();
    }
    scheduler.stop_rest();
    Ok(scheduler.summaries())
}

struct Scheduler<'c> {
    context: &'c Context<'c>,
    graph: &'c Graph<'c>,
    /// Place of each stage in running order.
    rank: Vec<usize>,
    nodes: Vec<Node>,
    /// Stages to look at, by rank.
    visits: BTreeSet<usize>,
    /// Stages to compute, by rank.
    queued: BTreeSet<usize>,
    devices: Vec<String>,
    running: usize,
    limit: usize,
    /// A stage failed.
    failed: bool,
}

impl<'c> Scheduler<'c> {
    fn new(context: &'c Context<'c>, chosen: &Chosen) -> Self {
        let wanted = &chosen.wanted;
        let graph = &context.session.graph;
        let mut rank = vec![0; wanted.len()];
        for (place, &index) in graph.order().iter().enumerate() {
            rank[index] = place;
        }
        let nodes: Vec<_> = (0..wanted.len())
            .map(|index| {
                let pending = graph.upstream(index).count();
                Node::new(wanted[index], chosen.forced[index], pending)
            })
            .collect();
        let visits = (0..wanted.len())
            .filter(|&index| wanted[index] && nodes[index].pending == 0)
            .map(|index| rank[index])
            .collect();
        let mut devices = context.devices();
        devices.reverse();
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let site = context.site.jobs.map(|jobs| jobs as usize);
        let limit = context.options.jobs.or(site);
        let limit = limit.unwrap_or(devices.len() + cores);
        Self {
            context,
            graph,
            rank,
            nodes,
            visits,
            queued: BTreeSet::new(),
            devices,
            running: 0,
            limit: limit.max(1),
            failed: false,
        }
    }

    /// Looks at every stage that can be looked at.
    fn settle(&mut self) {
        while let Some(place) = self.visits.pop_first() {
            let index = self.graph.order()[place];
            if self.nodes[index].phase == Phase::Waiting {
                self.visit(index);
            }
        }
    }

    fn visit(&mut self, index: usize) {
        let outputs = |from: usize| self.nodes[from].outputs.clone();
        match resolve(self.graph, index, &self.context.sources, &outputs) {
            Resolved::Ready(ready) => self.find(index, ready),
            Resolved::Waiting(_) => self.wait_again(index),
            Resolved::Missing(what) => {
                let message = format!("missing {}", what.join(", "));
                self.fail(index, StageFailure::new(message));
            }
        }
    }

    /// Something that was done is being made anew.
    fn wait_again(&mut self, index: usize) {
        let lost: Vec<_> = self
            .graph
            .upstream(index)
            .filter(|&from| self.nodes[from].outputs.is_none())
            .collect();
        self.nodes[index].pending = lost.len();
        for from in lost {
            let waiters = &mut self.nodes[from].waiters;
            waiters.get_or_insert_default().push(index);
        }
    }

    fn find(&mut self, index: usize, ready: ReadyStage) {
        let session = self.context.session;
        self.nodes[index].key = Some(ready.key);
        let lookup = match session.store.lookup(&ready.key) {
            Ok(Lookup::Committed(record)) if !self.nodes[index].forced => {
                return self.found(index, &record);
            }
            Ok(Lookup::Committed(_)) => return self.queue(index, ready, FORCED.into()),
            Ok(lookup) => lookup,
            Err(error) => return self.fail(index, StageFailure::new(error.to_string())),
        };
        let outputs = |from: usize| self.nodes[from].outputs.clone();
        let present = present(self.graph, index, &self.context.sources, &outputs);
        let reason = session
            .reason(index, &present, &lookup)
            .unwrap_or_else(|_| "no result yet".into());
        self.queue(index, ready, reason);
    }

    fn queue(&mut self, index: usize, ready: ReadyStage, reason: String) {
        self.nodes[index].ready = Some((ready, reason));
        self.nodes[index].phase = Phase::Queued;
        self.queued.insert(self.rank[index]);
    }

    fn found(&mut self, index: usize, record: &ActionRecord) {
        let fresh = |from: usize| {
            let phase = self.nodes[from].phase;
            matches!(phase, Phase::Over(Outcome::Ran | Outcome::CutOff))
        };
        let cut_off = self.graph.upstream(index).any(fresh);
        let outcome = if cut_off {
            Outcome::CutOff
        } else {
            Outcome::Cached
        };
        self.done(index, outcome, record);
    }

    fn done(&mut self, index: usize, outcome: Outcome, record: &ActionRecord) {
        let name = &self.graph.stage(index).name;
        let dir = output_dir(self.graph.experiment());
        if let Err(error) = beside::write(&dir, name, record, &self.context.session.store) {
            self.context.event(&RunEvent::Log {
                stage: name.clone(),
                level: Level::Warn,
                message: format!("its outputs are in the cache only: {error}"),
            });
        }
        let node = &mut self.nodes[index];
        node.phase = Phase::Over(outcome);
        node.outputs = Some(Arc::new(record.outputs.clone()));
        node.metrics = Some(record.metrics.clone());
        self.context.event(&RunEvent::StageFinished {
            stage: name.clone(),
            state: outcome,
            seconds: node.seconds,
        });
        let waiters = node.waiters.take();
        let waiters = waiters.unwrap_or_else(|| self.graph.downstream(index).collect());
        for next in waiters {
            let node = &mut self.nodes[next];
            node.pending = node.pending.saturating_sub(1);
            if node.phase == Phase::Waiting && node.pending == 0 {
                self.visits.insert(self.rank[next]);
            }
        }
    }

    fn fail(&mut self, index: usize, failure: StageFailure) {
        let name = self.graph.stage(index).name.clone();
        self.context.event(&RunEvent::StageFailed {
            stage: name.clone(),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        });
        self.failed = true;
        self.nodes[index].phase = Phase::Over(Outcome::Failed);
        self.nodes[index].error = Some(failure);
        let reason = format!("`{name}` failed");
        let mut stack: Vec<_> = self.graph.downstream(index).collect();
        while let Some(next) = stack.pop() {
            if matches!(self.nodes[next].phase, Phase::Waiting | Phase::Queued) {
                self.queued.remove(&self.rank[next]);
                self.skip(next, &reason);
                stack.extend(self.graph.downstream(next));
            }
        }
    }

    fn skip(&mut self, index: usize, reason: &str) {
        self.nodes[index].phase = Phase::Over(Outcome::Skipped);
        self.nodes[index].error = Some(StageFailure::new(reason));
        self.context.event(&RunEvent::StageSkipped {
            stage: self.graph.stage(index).name.clone(),
            reason: reason.to_owned(),
        });
    }

    /// Computes what is queued, and what follows from it. All processes are
    /// started from this thread, which outlives them.
    fn work(&mut self) {
        let (sender, messages) = unbounded();
        let context = self.context;
        std::thread::scope(|scope| {
            scope.spawn(|| context.remember_rows());
            loop {
                self.settle();
                self.start(scope, &sender);
                if self.running == 0 {
                    break;
                }
                self.take(&messages);
            }
        });
    }

    /// True once nothing new is started.
    fn is_over(&self) -> bool {
        self.context.is_stopped() || (self.failed && self.context.options.fail_fast)
    }

    fn start<'s>(&mut self, scope: &'s Scope<'s, '_>, sender: &Sender<Message>)
    where
        'c: 's,
    {
        let places: Vec<_> = self.queued.iter().copied().collect();
        for place in places {
            if self.running >= self.limit || self.is_over() {
                return;
            }
            let index = self.graph.order()[place];
            let stage = self.graph.stage(index);
            let device = match stage.spec.runs_in_engine() {
                true => None,
                false => match self.devices.pop() {
                    Some(device) => Some(device),
                    None => continue,
                },
            };
            self.queued.remove(&place);
            let Some((ready, reason)) = self.nodes[index].ready.take() else {
                continue;
            };
            self.nodes[index].phase = Phase::Running;
            let forced = std::mem::take(&mut self.nodes[index].forced);
            self.running += 1;
            let task = Task {
                context: self.context,
                index,
                stage,
                ready,
                reason,
                forced,
                device,
            };
            let sender = sender.clone();
            scope.spawn(move || run_task(&task, index, &sender));
        }
    }

    fn take(&mut self, messages: &Receiver<Message>) {
        match messages.recv_timeout(POLL) {
            Ok(Message::Spawn(mut command, reply)) => {
                let _ = reply.send(command.spawn());
            }
            Ok(Message::Over {
                index,
                device,
                seconds,
                end,
            }) => {
                self.running -= 1;
                self.devices.extend(device);
                self.nodes[index].seconds = seconds;
                self.over(index, *end);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    fn over(&mut self, index: usize, end: TaskEnd) {
        match end {
            TaskEnd::Done { record, ran: true } => self.done(index, Outcome::Ran, &record),
            TaskEnd::Done { record, ran: false } => {
                self.nodes[index].seconds = 0.0;
                self.found(index, &record);
            }
            TaskEnd::Failed(failure) => self.fail(index, failure),
            TaskEnd::Stopped => self.nodes[index].phase = Phase::Waiting,
            TaskEnd::Lost { from } => self.rebuild(index, from),
        }
    }

    /// Makes a damaged input anew, then looks at the stage again.
    fn rebuild(&mut self, index: usize, from: usize) {
        self.nodes[index].phase = Phase::Waiting;
        let lost = &mut self.nodes[from];
        if matches!(lost.phase, Phase::Over(_)) {
            lost.rebuilds += 1;
            if lost.rebuilds > MAX_REBUILDS {
                let name = &self.graph.stage(from).name;
                let message = format!("the output of `{name}` is damaged again and again");
                let failure = StageFailure::new(message);
                return self.fail(index, failure.with_hint("check the disk the cache is on"));
            }
            lost.phase = Phase::Waiting;
            lost.outputs = None;
            lost.waiters = Some(Vec::new());
            self.visits.insert(self.rank[from]);
        }
        self.wait_again(index);
        if self.nodes[index].pending == 0 {
            self.visits.insert(self.rank[index]);
        }
    }

    /// What a run that ended early leaves.
    fn stop_rest(&mut self) {
        let reason = match self.context.is_stopped() {
            true => "the run was stopped",
            false => "the run ended at the first failure",
        };
        for &index in self.graph.order() {
            let phase = self.nodes[index].phase;
            if matches!(phase, Phase::Waiting | Phase::Queued | Phase::Running) {
                self.skip(index, reason);
            }
        }
    }

    fn summaries(self) -> Vec<StageSummary> {
        let Self { graph, nodes, .. } = self;
        let mut nodes: Vec<_> = nodes.into_iter().map(Some).collect();
        graph
            .order()
            .iter()
            .filter_map(|&index| {
                let node = nodes[index].take()?;
                let Phase::Over(state) = node.phase else {
                    return None;
                };
                let stage = graph.stage(index);
                Some(StageSummary {
                    name: stage.name.clone(),
                    kind: stage.spec.kind(),
                    state,
                    key: node.key,
                    seconds: node.seconds,
                    metrics: node.metrics,
                    error: node.error,
                })
            })
            .collect()
    }
}

impl Node {
    fn new(wanted: bool, forced: bool, pending: usize) -> Self {
        Self {
            phase: if wanted {
                Phase::Waiting
            } else {
                Phase::Unwanted
            },
            forced,
            pending,
            waiters: None,
            rebuilds: 0,
            ready: None,
            outputs: None,
            key: None,
            seconds: 0.0,
            metrics: None,
            error: None,
        }
    }
}

/// The body of a task's thread.
fn run_task(task: &Task<'_>, index: usize, sender: &Sender<Message>) {
    let clock = Instant::now();
    let spawn = |command| {
        let (reply, answer) = unbounded();
        let gone = || io::Error::other("the run is over");
        sender
            .send(Message::Spawn(command, reply))
            .map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    };
    // A thread that ends without a word would be waited for without end.
    let end = catch_unwind(AssertUnwindSafe(|| task.run(&spawn))).unwrap_or_else(|_| {
        let failure = StageFailure::new("the engine panicked: this is a bug");
        TaskEnd::Failed(failure)
    });
    let _ = sender.send(Message::Over {
        index,
        device: task.device.clone(),
        seconds: clock.elapsed().as_secs_f64(),
        end: Box::new(end),
    });
}
