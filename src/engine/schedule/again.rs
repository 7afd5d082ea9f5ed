//! What was done and has to be made anew, because its output was damaged.

use super::node::Phase;
use super::{Scheduler, StageFailure};

/// Times a stage is computed anew because its output was damaged.
const MAX_REBUILDS: u32 = 2;

impl Scheduler<'_> {
    /// Something that was done is being made anew.
    pub(super) fn wait_again(&mut self, index: usize) {
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

    /// Makes a damaged input anew, then looks at the stage again.
    pub(super) fn rebuild(&mut self, index: usize, from: usize) {
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
}
