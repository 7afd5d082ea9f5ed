//! Clipping, the learning rate, and steps that must not be taken.

use moreline_protocol::spec::{Sft, TrainReward};
use torch_ext_sys::AdamW;

use super::schedule::LearningRate;
use super::weights::TrainWeights;
use crate::error::WorkerError;

/// Steps in a row with gradients that are not finite before training stops.
const MOST_BAD_STEPS: u32 = 5;

/// The optimiser's settings and its count of bad steps.
#[derive(Debug)]
pub struct Optimiser {
    /// Learning rates.
    pub rate: LearningRate,
    /// AdamW's decay rates.
    pub betas: [f64; 2],
    /// AdamW's epsilon.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether it also takes norms and biases.
    pub decay_norms: bool,
    /// Largest global gradient norm.
    pub clip: f64,
    /// Steps taken, without those skipped.
    pub taken: u64,
    /// Steps skipped since the last good one.
    pub bad: u32,
    /// Steps skipped in all.
    pub skipped: u64,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Applied {
    /// Global gradient norm before clipping; of a skipped step not finite.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub lr: f64,
}

macro_rules! of_spec {
    ($($spec:ty),*) => {$(
        impl From<(&$spec, u64)> for Optimiser {
            /// The optimiser of a stage with this many steps, before the first.
            fn from((spec, total): (&$spec, u64)) -> Self {
                Self {
                    rate: LearningRate::from((spec, total)),
                    betas: spec.betas,
                    eps: spec.eps,
                    weight_decay: spec.weight_decay,
                    decay_norms: spec.decay_norms,
                    clip: spec.clip,
                    taken: 0,
                    bad: 0,
                    skipped: 0,
                }
            }
        }
    )*};
}

of_spec!(TrainReward, Sft);

impl Optimiser {
    /// Applies the gathered gradients as step `step`, counted from 0.
    /// Gradients that are not finite are thrown away and counted.
    ///
    /// # Errors
    /// Several such steps in a row.
    pub fn apply(&mut self, step: u64, weights: &mut TrainWeights) -> Result<Applied, WorkerError> {
        let lr = self.rate.at(step);
        let grad_norm = weights.grad_norm();
        if !grad_norm.is_finite() {
            self.bad += 1;
            self.skipped += 1;
            weights.clear_grads();
            if self.bad >= MOST_BAD_STEPS {
                let message = format!(
                    "train: the gradients of {MOST_BAD_STEPS} steps in a row, up to step {}, were not finite",
                    step + 1
                );
                return Err(WorkerError::Diverged { message });
            }
            return Ok(Applied { grad_norm, lr });
        }
        self.bad = 0;
        self.taken += 1;
        let settings = AdamW {
            step: self.taken,
            lr,
            betas: self.betas,
            weight_decay: self.weight_decay,
            eps: self.eps,
        };
        // As torch's clip_grad_norm_.
        let scale = (self.clip / (grad_norm + 1e-6)).min(1.0);
        weights.step(&settings, scale, self.decay_norms)?;
        Ok(Applied { grad_norm, lr })
    }
}
