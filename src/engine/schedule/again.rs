//! What was done and has to be looked at again: because its output was damaged,
//! or because something it depends on was made anew and is not what it was.
//!
//! A damaged output is made anew in the same run. What is at work on it is not
//! believed, for it may have read the damage, and is looked at again when it is
//! over. If the new bytes are the old ones, all that is done stays as it is. If
//! they are not, whoever took the old ones has another key now, and is looked at
//! again: found for the new bytes, or computed; and so on downstream. Results for
//! the old bytes stay in the store under their own keys. A stage that failed
//! stays failed: the next run tries it again.

use std::sync::atomic::Ordering;

use super::node::Phase;
use super::{Scheduler, StageFailure};
use crate::engine::resolve::Outputs;
use crate::event::Outcome;
use crate::plan::Dependency;

/// Times a stage is computed anew because its output was damaged.
const MAX_REBUILDS: u32 = 2;

impl Scheduler<'_> {
    /// Makes a damaged input anew, then looks at the stage again.
    pub(super) fn rebuild(&mut self, index: usize, from: usize) {
        if matches!(self.nodes[from].phase, Phase::Over(outcome) if outcome.is_done()) {
            self.nodes[from].rebuilds += 1;
            if self.nodes[from].rebuilds > MAX_REBUILDS {
                let name = &self.graph.stage(from).name;
                let message = format!("the output of `{name}` is damaged again and again");
                let failure = StageFailure::new(message);
                return self.fail(index, failure.with_hint("check the disk the cache is on"));
            }
            for next in self.in_phase(from, |phase| phase == Phase::Running) {
                self.nodes[next].tainted.store(true, Ordering::Relaxed);
            }
            self.reopen(from);
        }
        self.look_again(index);
    }

    /// Looks at a stage again once all it depends on is there.
    pub(super) fn look_again(&mut self, index: usize) {
        self.queued.remove(&self.rank[index]);
        let node = &mut self.nodes[index];
        node.phase = Phase::Waiting;
        node.ready = None;
        self.wait_again(index);
        let node = &self.nodes[index];
        if node.phase == Phase::Waiting && node.pending == 0 {
            self.visits.insert(self.rank[index]);
        }
    }

    /// Something that was done is being made anew, or could not be.
    pub(super) fn wait_again(&mut self, index: usize) {
        let lost: Vec<_> = self
            .graph
            .upstream(index)
            .filter(|&from| self.nodes[from].outputs.is_none())
            .collect();
        let over = |from: &&usize| matches!(self.nodes[**from].phase, Phase::Over(_));
        if let Some(&failed) = lost.iter().find(over) {
            let reason = format!("`{}` failed", self.graph.stage(failed).name);
            self.skip(index, &reason);
            return self.skip_downstream(index, &reason);
        }
        self.nodes[index].pending = lost.len();
        for from in lost {
            let waiters = self.nodes[from].waiters.get_or_insert_default();
            if !waiters.contains(&index) {
                waiters.push(index);
            }
        }
    }

    /// Looks again at a stage that was done. What is about to take its outputs
    /// waits.
    fn reopen(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.replaced = node.outputs.take();
        node.metrics = None;
        node.waiters = Some(Vec::new());
        for next in self.in_phase(index, |phase| phase == Phase::Queued) {
            self.look_again(next);
        }
        self.look_again(index);
    }

    /// A stage that was done before gave other outputs now: whoever took those
    /// is looked at again.
    pub(super) fn follow(&mut self, index: usize, old: &Outputs) {
        let Some(new) = self.nodes[index].outputs.clone() else {
            return;
        };
        let took = |phase| match phase {
            Phase::Running => true,
            Phase::Over(outcome) => Outcome::is_done(outcome),
            Phase::Unwanted | Phase::Waiting | Phase::Queued => false,
        };
        for next in self.in_phase(index, took) {
            let inputs = self.graph.inputs(next).iter();
            let mut taken = inputs.filter_map(|input| match input.from {
                Dependency::Stage {
                    index: from,
                    output,
                } if from == index => Some(output.to_string()),
                _ => None,
            });
            let changed = taken.any(|name| old.get(&name) != new.get(&name));
            match self.nodes[next].phase {
                Phase::Running => self.nodes[next].stale |= changed,
                _ if changed => self.reopen(next),
                _ => {}
            }
        }
    }

    /// The stages that take something from a stage, and are in such a phase.
    fn in_phase(&self, index: usize, fits: impl Fn(Phase) -> bool) -> Vec<usize> {
        let next = self.graph.downstream(index);
        next.filter(|&next| fits(self.nodes[next].phase)).collect()
    }
}
