//! Memory for workers on the CPU: which stage may start beside others.
//!
//! Stages start in the scheduler's sequence, each once what it is expected to hold fits
//! beside what the running ones hold. One that does not fit waits, and a later
//! one may overtake it only if it fits beside the waiting one as well, together
//! with all that overtook before. So the waiting stage starts when those are
//! over that ran before it began to wait: no later than if nothing had
//! overtaken it. A stage always starts when nothing else runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the running workers hold, and who waits for room. Figures are in MB.
#[derive(Default)]
pub(super) struct Memory {
    /// What they may hold together; as much as they like if absent.
    limit: Option<u64>,
    running: HashMap<usize, Held>,
    /// The first stage that waits for room.
    waiting: Option<usize>,
    /// What it needs, once this look through the queue has come to it.
    ahead: Option<u64>,
}

/// What one worker holds.
struct Held {
    expected: u64,
    /// The most it was seen to hold.
    seen: Arc<AtomicU64>,
    /// It overtook the stage that waits.
    overtook: bool,
}

impl Memory {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Begins a look through the queue, in the scheduler's sequence.
    pub(super) fn look(&mut self) {
        self.ahead = None;
    }

    /// True if this look through the queue has come to a stage that waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.ahead.is_some()
    }

    /// True if no stage fits, whatever it needs.
    pub(super) fn is_full(&self) -> bool {
        !self.fits(1)
    }

    /// True if a stage that needs so much may start.
    pub(super) fn fits(&self, need: u64) -> bool {
        let Some(limit) = self.limit else {
            return true;
        };
        let need = need.min(limit);
        let beside = |held: u64| held.saturating_add(need) <= limit;
        let beside_all = self.running.is_empty() || beside(self.held(|_| true));
        let delays = self.ahead.is_some_and(|ahead| {
            let overtook = self.held(|held| held.overtook);
            !beside(overtook.saturating_add(ahead.min(limit)))
        });
        beside_all && !delays
    }

    /// Notes that a stage waits for room. The first to do so keeps others from
    /// delaying it.
    pub(super) fn wait(&mut self, index: usize, need: u64) {
        if self.ahead.is_some() {
            return;
        }
        self.ahead = Some(need);
        if self.waiting.replace(index) != Some(index) {
            let running = self.running.values_mut();
            running.for_each(|held| held.overtook = false);
        }
    }

    /// A stage starts; what its worker is seen to hold is to be written to what
    /// is returned.
    pub(super) fn start(&mut self, index: usize, expected: u64) -> Arc<AtomicU64> {
        let held = Held {
            expected,
            seen: Arc::default(),
            overtook: self.ahead.is_some(),
        };
        let seen = Arc::clone(&held.seen);
        self.running.insert(index, held);
        seen
    }

    /// A stage is over.
    pub(super) fn end(&mut self, index: usize) {
        self.running.remove(&index);
    }

    fn held(&self, counts: impl Fn(&Held) -> bool) -> u64 {
        let running = self.running.values().filter(|held| counts(held));
        let each = running.map(|held| held.expected.max(held.seen.load(Ordering::Relaxed)));
        each.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks through a queue of stages and what they need; those that start.
    fn look(memory: &mut Memory, queue: &[(usize, u64)]) -> Vec<usize> {
        memory.look();
        let mut started = Vec::new();
        for &(index, need) in queue {
            if memory.fits(need) {
                memory.start(index, need);
                started.push(index);
            } else {
                memory.wait(index, need);
            }
        }
        started
    }

    #[test]
    fn without_a_limit_all_start() {
        let mut memory = Memory::new(None);
        assert_eq!(look(&mut memory, &[(0, u64::MAX), (1, u64::MAX)]), [0, 1]);
    }

    #[test]
    fn stages_start_beside_others_while_there_is_room() {
        let mut memory = Memory::new(Some(100));
        assert_eq!(look(&mut memory, &[(0, 60), (1, 40), (2, 1)]), [0, 1]);
        assert!(memory.is_full());
        memory.end(0);
        assert!(!memory.is_full());
        assert_eq!(look(&mut memory, &[(2, 1), (3, 59)]), [2, 3]);
    }

    #[test]
    fn what_needs_more_than_there_is_runs_alone() {
        let mut memory = Memory::new(Some(100));
        assert_eq!(look(&mut memory, &[(0, 1), (1, 5000), (2, 1)]), [0]);
        memory.end(0);
        assert_eq!(look(&mut memory, &[(1, 5000), (2, 1)]), [1]);
        memory.end(1);
        assert_eq!(look(&mut memory, &[(2, 1)]), [2]);
    }

    /// 1 waits for 0. Beside 1 there will be room for 30: 2 takes 20 of it, 3
    /// would fit beside 0 and 2 but delay 1, 4 takes the rest.
    #[test]
    fn overtaking_never_delays_the_stage_that_waits() {
        let mut memory = Memory::new(Some(100));
        let queue = [(0, 40), (1, 70), (2, 20), (3, 30), (4, 10), (5, 1)];
        assert_eq!(look(&mut memory, &queue), [0, 2, 4]);
        assert_eq!(look(&mut memory, &[(1, 70), (3, 30), (5, 1)]), [0; 0]);
        memory.end(0);
        assert_eq!(look(&mut memory, &[(1, 70), (3, 30), (5, 1)]), [1]);
    }

    /// However many small stages come, the large one starts next.
    #[test]
    fn a_stage_is_not_overtaken_for_ever() {
        let mut memory = Memory::new(Some(100));
        assert_eq!(look(&mut memory, &[(0, 50), (1, 90)]), [0]);
        for small in 2..50 {
            let started = look(&mut memory, &[(1, 90), (small, 10)]);
            assert_eq!(started, if small == 2 { vec![small] } else { vec![] });
        }
        memory.end(0);
        assert_eq!(look(&mut memory, &[(1, 90), (60, 10)]), [1]);
    }

    #[test]
    fn a_worker_that_holds_more_than_expected_counts_with_that() {
        let mut memory = Memory::new(Some(100));
        let seen = memory.start(0, 20);
        seen.store(90, Ordering::Relaxed);
        assert_eq!(look(&mut memory, &[(1, 20)]), [0; 0]);
        seen.store(80, Ordering::Relaxed);
        assert_eq!(look(&mut memory, &[(1, 20)]), [1]);
    }
}
