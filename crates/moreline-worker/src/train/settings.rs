//! The settings of the loop, which both kinds of training have.

use moreline_protocol::spec::{BestBy, Sft, TrainReward};

use super::watch::Watching;

/// What the loop does besides its steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Settings {
    /// Evaluation while training; absent without sets to evaluate on.
    pub watching: Option<Watching>,
    /// Steps between intermediate models.
    pub save_every: Option<u64>,
    /// Checkpoints.
    pub keeping: Keeping,
}

/// When checkpoints are written and which are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Keeping {
    /// Steps between them.
    pub every: u64,
    /// Largest age of the last one.
    pub minutes: Option<f64>,
    /// Number kept.
    pub count: u32,
}

macro_rules! settings {
    ($spec:ident, $by:expr) => {
        Settings {
            watching: $spec.evaluate_on.is_some().then_some(Watching {
                every: $spec.evaluate_every,
                each_epoch: $spec.evaluate_each_epoch,
                at_start: $spec.evaluate_at_start,
                by: $by,
                patience: $spec.patience,
                min_delta: $spec.min_delta,
                keep_best: $spec.keep_best,
            }),
            save_every: $spec.save_every,
            keeping: Keeping {
                every: $spec.checkpoint_every,
                minutes: $spec.checkpoint_minutes,
                count: $spec.checkpoint_keep,
            },
        }
    };
}

impl From<&TrainReward> for Settings {
    fn from(spec: &TrainReward) -> Self {
        settings!(spec, spec.best_by)
    }
}

impl From<&Sft> for Settings {
    fn from(spec: &Sft) -> Self {
        settings!(spec, BestBy::Loss)
    }
}
