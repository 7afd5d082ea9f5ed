//! Which stage runs when: a stage is looked at once everything it depends on
//! is done, and computed if the store does not have it.

mod again;
mod memory;
mod node;
mod peaks;
mod uploads;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;

use moreline_protocol::event::Level;

use super::context::Context;
use super::resolve::{ReadyStage, Resolved, present, resolve};
use super::selection::Chosen;
use super::session::FORCED;
use super::{EngineError, StageFailure, StageSummary, beside, output_dir};
use crate::event::{Outcome, RunEvent};
use crate::plan::Graph;
use crate::store::{ActionRecord, Lookup};
use memory::Memory;
use node::{Node, Phase};
use peaks::Peaks;

/// Runs the wanted stages; their summaries, each after what it depends on.
/// `prepare` is called once, before the first stage is computed.
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
    /// The stages as they are best computed, chain after chain.
    sequence: Vec<usize>,
    /// Place of each stage in the sequence.
    rank: Vec<usize>,
    nodes: Vec<Node>,
    /// Stages to look at, by rank.
    visits: BTreeSet<usize>,
    /// Stages to compute, by rank.
    queued: BTreeSet<usize>,
    /// Devices nobody is at work on, those to take first last.
    devices: Vec<String>,
    memory: Memory,
    /// Read once the first stage is to be weighed.
    peaks: Option<Peaks>,
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
        let sequence = graph.chains();
        for (place, &index) in sequence.iter().enumerate() {
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
            sequence,
            rank,
            nodes,
            visits,
            queued: BTreeSet::new(),
            devices,
            memory: Memory::new(context.memory_limit()),
            peaks: None,
            running: 0,
            limit: limit.max(1),
            failed: false,
        }
    }

    /// Looks at every stage that can be looked at.
    fn settle(&mut self) {
        while let Some(place) = self.visits.pop_first() {
            let index = self.sequence[place];
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
        if outcome == Outcome::Ran {
            node.cost = record.provenance.cost.clone();
        }
        self.context.event(&RunEvent::StageFinished {
            stage: name.clone(),
            state: outcome,
            seconds: node.seconds,
            key: Some(record.key.0),
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
        if let Some(old) = self.nodes[index].replaced.take() {
            self.follow(index, &old);
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
        self.skip_downstream(index, &format!("`{name}` failed"));
    }

    /// Skips all that depends on a stage and is not begun.
    fn skip_downstream(&mut self, index: usize, reason: &str) {
        let mut stack: Vec<_> = self.graph.downstream(index).collect();
        while let Some(next) = stack.pop() {
            if matches!(self.nodes[next].phase, Phase::Waiting | Phase::Queued) {
                self.queued.remove(&self.rank[next]);
                self.skip(next, reason);
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
                    cost: node.cost,
                    error: node.error,
                })
            })
            .collect()
    }
}
