//! Learning rates.

use moreline_protocol::spec::{Schedule, Sft, TrainReward};

/// The learning rates of a whole training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    /// The peak.
    pub peak: f64,
    /// What follows the warm-up.
    pub schedule: Schedule,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// `wsd`: steps of decay at the end.
    pub decay: u64,
    /// Steps in all.
    pub total: u64,
}

/// A share of the steps, rounded up.
fn share(ratio: f64, total: u64) -> u64 {
    (ratio * total as f64).ceil() as u64
}

macro_rules! of_spec {
    ($($spec:ty),*) => {$(
        impl From<(&$spec, u64)> for LearningRate {
            /// Those a stage's settings say, for this many steps.
            fn from((spec, total): (&$spec, u64)) -> Self {
                Self {
                    peak: spec.lr,
                    schedule: spec.schedule,
                    warmup: spec.warmup_steps.unwrap_or(share(spec.warmup_ratio, total)),
                    decay: share(spec.decay_ratio, total),
                    total,
                }
            }
        }
    )*};
}

of_spec!(TrainReward, Sft);

impl LearningRate {
    /// The learning rate of step `step`, from 0: linear warm-up, then the
    /// schedule, which would reach its end one step after the last. Where
    /// warm-up and decay of `wsd` would overlap, the decay is shorter.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let progress = |from: u64| {
            let span = self.total.saturating_sub(from).max(1);
            (step.saturating_sub(from) as f64 / span as f64).min(1.0)
        };
        let factor = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - progress(self.warmup),
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress(self.warmup)).cos()),
            Schedule::Wsd => {
                let stable_until = self.total.saturating_sub(self.decay).max(self.warmup);
                1.0 - progress(stable_until)
            }
        };
        self.peak * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(schedule: Schedule, warmup: u64, decay: u64, total: u64) -> LearningRate {
        LearningRate {
            peak: 2.0,
            schedule,
            warmup,
            decay,
            total,
        }
    }

    #[test]
    fn warm_up_then_cosine() {
        let rate = rate(Schedule::Cosine, 2, 0, 20);
        assert_eq!((rate.at(0), rate.at(1), rate.at(2)), (1.0, 2.0, 2.0));
        for step in 2..20 {
            let expected = 1.0 + (std::f64::consts::PI * (step as f64 - 2.0) / 18.0).cos();
            assert!((rate.at(step) - expected).abs() < 1e-12);
        }
        assert!(rate.at(19) > 0.0);
    }

    #[test]
    fn linear_and_constant() {
        assert_eq!(rate(Schedule::Linear, 0, 0, 10).at(5), 1.0);
        assert_eq!(rate(Schedule::Linear, 2, 0, 10).at(6), 1.0);
        assert_eq!(rate(Schedule::Constant, 0, 0, 10).at(9), 2.0);
    }

    #[test]
    fn warm_up_stable_decay() {
        let rate = rate(Schedule::Wsd, 2, 4, 12);
        let found: Vec<f64> = (0..12).map(|step| rate.at(step)).collect();
        let expected = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.5, 1.0, 0.5];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_decay_that_overlaps_the_warm_up_is_shorter() {
        let rate = rate(Schedule::Wsd, 4, 9, 8);
        let found: Vec<f64> = (0..8).map(|step| rate.at(step)).collect();
        assert_eq!(found, [0.5, 1.0, 1.5, 2.0, 2.0, 1.5, 1.0, 0.5]);
    }

    #[test]
    fn steps_override_the_ratio_of_warm_up() {
        let spec = |extra: serde_json::Value| -> TrainReward {
            let mut table = serde_json::json!({"model": "m", "data": "d"});
            table
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            serde_json::from_value(table).unwrap()
        };
        let rate = |spec: &TrainReward| LearningRate::from((spec, 50));
        assert_eq!(rate(&spec(serde_json::json!({}))).warmup, 3);
        let given = spec(serde_json::json!({"warmup_steps": 7, "decay_ratio": 0.5}));
        assert_eq!((rate(&given).warmup, rate(&given).decay), (7, 25));
        assert_eq!(
            rate(&spec(serde_json::json!({"warmup_steps": 0}))).warmup,
            0
        );
    }
}
