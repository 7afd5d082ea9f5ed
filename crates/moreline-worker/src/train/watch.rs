//! When a training is evaluated, which evaluation was the best, and when to
//! stop early.

use std::collections::BTreeMap;

use moreline_protocol::spec::BestBy;
use serde::{Deserialize, Serialize};

/// The settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Watching {
    /// Steps between evaluations.
    pub every: Option<u64>,
    /// After every epoch.
    pub each_epoch: bool,
    /// Before the first step.
    pub at_start: bool,
    /// What is compared.
    pub by: BestBy,
    /// Evaluations without improvement before training stops.
    pub patience: Option<u64>,
    /// What counts as improvement: more than this.
    pub min_delta: f64,
    /// Whether the best weights are given in the end.
    pub keep_best: bool,
}

/// Where a training stands within its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Steps done.
    pub step: u64,
    /// Rows seen before the step.
    pub before: usize,
    /// Rows seen with it.
    pub after: usize,
    /// Rows of an epoch.
    pub epoch: usize,
    /// Whether it is the last step.
    pub last: bool,
}

impl Watching {
    /// Whether to evaluate after a step.
    pub(super) fn due(&self, moment: &Moment) -> bool {
        let epoch = moment.epoch.max(1);
        let ends_epoch = moment.after / epoch > moment.before / epoch;
        moment.last
            || self
                .every
                .is_some_and(|every| moment.step.is_multiple_of(every))
            || ends_epoch && (self.each_epoch || self.every.is_none())
    }
}

/// Figures of an evaluation by name: `loss`, `SET/accuracy`, ...
pub(super) type Figures = BTreeMap<String, f64>;

/// What evaluations found so far; kept in checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Watch {
    /// Number of evaluations.
    pub evaluations: u64,
    /// The best, the first of equal ones.
    pub best: Option<Found>,
    /// The newest.
    pub last: Option<Found>,
    /// The value that the next has to improve on.
    reference: Option<f64>,
    /// Evaluations in a row without improvement.
    stale: u64,
    /// Whether to stop.
    pub stop: bool,
}

/// One evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    /// Steps done before it.
    pub step: u64,
    /// What it found.
    pub figures: Figures,
}

impl Watch {
    /// The step before the best evaluation.
    pub(super) fn best_step(&self) -> Option<u64> {
        self.best.as_ref().map(|best| best.step)
    }

    /// Takes an evaluation in; whether it is the best so far.
    pub(super) fn observe(&mut self, watching: &Watching, found: Found) -> bool {
        let (name, sign) = match watching.by {
            BestBy::Loss => ("loss", 1.0),
            BestBy::Accuracy => ("accuracy", -1.0),
        };
        // The lower, the better.
        let value = |found: &Found| sign * found.figures[name];
        let now = value(&found);
        self.evaluations += 1;
        if self.reference.is_none_or(|r| now < r - watching.min_delta) {
            self.reference = Some(now);
            self.stale = 0;
        } else {
            self.stale += 1;
        }
        self.stop = watching.patience.is_some_and(|most| self.stale >= most);
        let best = self.best.as_ref().is_none_or(|best| now < value(best));
        if best {
            self.best = Some(found.clone());
        }
        self.last = Some(found);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Watching = Watching {
        every: Some(2),
        each_epoch: false,
        at_start: false,
        by: BestBy::Loss,
        patience: Some(2),
        min_delta: 0.0,
        keep_best: false,
    };

    fn found(step: u64, name: &str, value: f64) -> Found {
        let figures = [(name.to_owned(), value)].into();
        Found { step, figures }
    }

    /// The steps at which the loss was the best so far, and the one at which
    /// training stops.
    fn observed(watching: Watching, values: &[f64]) -> (Vec<u64>, Option<u64>) {
        let name = match watching.by {
            BestBy::Loss => "loss",
            BestBy::Accuracy => "accuracy",
        };
        let (mut watch, mut best) = (Watch::default(), Vec::new());
        for (step, value) in values.iter().enumerate() {
            let step = step as u64;
            if watch.observe(&watching, found(step, name, *value)) {
                best.push(step);
            }
            if watch.stop {
                return (best, Some(step));
            }
        }
        (best, None)
    }

    #[test]
    fn patience_counts_evaluations_in_a_row() {
        let run = |values: &[f64]| observed(EVERY, values);
        assert_eq!(run(&[3.0, 2.0, 2.5, 1.0, 1.0]), (vec![0, 1, 3], None));
        assert_eq!(run(&[3.0, 2.0, 2.5, 2.0, 1.0]), (vec![0, 1], Some(3)));
        let accuracy = Watching {
            by: BestBy::Accuracy,
            ..EVERY
        };
        assert_eq!(
            observed(accuracy, &[0.5, 0.7, 0.6, 0.6]),
            (vec![0, 1], Some(3))
        );
    }

    #[test]
    fn small_gains_are_best_but_do_not_count_for_patience() {
        let watching = Watching {
            min_delta: 0.5,
            ..EVERY
        };
        let (best, stop) = observed(watching, &[3.0, 2.9, 2.6, 1.0]);
        assert_eq!((best, stop), (vec![0, 1, 2], Some(2)));
        // Creeping gains add up: they are measured from the last that counted.
        assert_eq!(observed(watching, &[3.0, 2.6, 2.4, 2.0]).1, None);
    }

    #[test]
    fn evaluations_come_when_asked_and_after_the_last_step() {
        let moment = |step: u64, last| Moment {
            step,
            before: (step as usize - 1) * 4,
            after: step as usize * 4,
            epoch: 10,
            last,
        };
        let due = |watching: &Watching, last: u64| -> Vec<u64> {
            let steps = 1..=last;
            steps
                .filter(|&step| watching.due(&moment(step, step == last)))
                .collect()
        };
        assert_eq!(due(&EVERY, 7), [2, 4, 6, 7]);
        let epochs = Watching {
            every: None,
            ..EVERY
        };
        assert_eq!(due(&epochs, 7), [3, 5, 7]);
        let both = Watching {
            every: Some(4),
            each_epoch: true,
            ..EVERY
        };
        assert_eq!(due(&both, 7), [3, 4, 5, 7]);
    }
}
