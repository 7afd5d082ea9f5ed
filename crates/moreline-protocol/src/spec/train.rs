//! `train-reward`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{OneOrMany, Pairs, Precision, Template, Truncation};
use super::compat::{Compat, FirstMomentum, Resampling, ScoreScale, WeightedLoss};
use super::defaults::{
    alpha, batch, betas, checkpoint_every, checkpoint_keep, clip, decay_ratio, dwa_temperature,
    dwa_window, eps, is_default, is_dwa_temperature, is_dwa_window, l2, lr, max_length,
    max_shard_mb, one, one_epoch, warmup, yes,
};
use super::lora::Lora;
use super::training::{BestBy, Method, Mixing, Normalize, Pooling, Schedule, Solver, Ties};

/// Train a reward model: the language model's body and a linear head, on the
/// pairwise logistic ranking loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainReward {
    /// The language model to start from.
    pub model: String,
    /// The preference sets.
    pub data: OneOrMany,
    /// How the sets' losses are combined.
    #[serde(default)]
    pub method: Method,
    /// `published` puts the choices of the published code in place of settings
    /// that are left out: `solver`, `weight_groups`, `first_momentum`,
    /// `weighted_loss`, `pairs`, `score_scale`, `truncation`, `resampling` and
    /// `mixing`. Settings that are written win. Not keyed: those it stands for are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compat: Compat,
    /// `uniform`: each set's mean loss counts the same, whatever its number of
    /// pairs in the batch (the published `--reweight False`); without it each pair
    /// does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub group_by_task: bool,
    /// MORE: share of the newest head gradient in the running one,
    /// m = (1 - alpha) m + alpha g.
    #[serde(default = "alpha")]
    #[schemars(range(min = 0, max = 1))]
    pub alpha: f64,
    /// MORE: how task gradients are scaled before the weights are solved.
    #[serde(default = "l2")]
    pub normalize: Normalize,
    /// MORE: the min-norm solver.
    #[serde(default)]
    pub solver: Solver,
    /// MORE and PCGrad: solve weights separately for this many groups of pairs of
    /// each global batch (the published runs: one per GPU, 16).
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub weight_groups: u32,
    /// MORE: what the running head gradients start from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first_momentum: FirstMomentum,
    /// What the tasks' weights multiply.
    #[serde(default, skip_serializing_if = "is_default")]
    pub weighted_loss: WeightedLoss,
    /// DWA: losses are means over windows of this many steps, where the paper takes
    /// an epoch; the weights are equal in the first two.
    #[serde(default = "dwa_window", skip_serializing_if = "is_dwa_window")]
    #[schemars(range(min = 1))]
    pub dwa_window: u32,
    /// DWA: temperature of the softmax over the ratios of the last two losses.
    #[serde(
        default = "dwa_temperature",
        skip_serializing_if = "is_dwa_temperature"
    )]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub dwa_temperature: f64,
    /// How global batches draw from the sets; by default `proportional` for
    /// `uniform` and `single`, `equal` for methods that weigh the sets.
    #[serde(default)]
    pub mixing: Option<Mixing>,
    /// `mixing = "temperature"`: the temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub mixing_temperature: Option<f64>,
    /// `mixing = "weights"`: the share of each set, by its name. They are divided by
    /// their sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixing_weights: Option<BTreeMap<String, f64>>,
    /// Bring every set to this many rows before training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub resample: Option<u64>,
    /// `resample`: which rows are taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resampling: Resampling,
    /// Pairs taken from rows of more than two responses.
    #[serde(default)]
    pub pairs: Pairs,
    /// What becomes of ties.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ties: Ties,
    /// Scores that differ by no more than this are tied.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub noise_margin: f64,
    /// What becomes of a row's scores before they are used.
    #[serde(default, skip_serializing_if = "is_default")]
    pub score_scale: ScoreScale,
    /// Margin by which a better response's reward should be higher, per unit of
    /// the difference of their scores (arXiv 2307.09288, equation 2).
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub margin: f64,
    /// Factor of the penalty (r_better + r_worse)^2 of each pair, which centres
    /// rewards at zero (arXiv 2312.09244).
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub centring: f64,
    /// Factor of the language-model loss on each row's best response, the mean
    /// over the tokens of the batch after the responses' common beginning.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub lm_loss: f64,
    /// Where the reward is read.
    #[serde(default)]
    pub pooling: Pooling,
    /// How prompt and response become a text.
    #[serde(default)]
    pub template: Template,
    /// Longest text in tokens, special ones included.
    #[serde(default = "max_length")]
    #[schemars(range(min = 8))]
    pub max_length: u32,
    /// What happens to longer ones.
    #[serde(default)]
    pub truncation: Truncation,
    /// Passes over the data.
    #[serde(default = "one_epoch")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub epochs: f64,
    /// Stop after this many optimiser steps; overrides `epochs`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// Rows (groups of responses) per optimiser step, over all ranks.
    #[serde(default = "batch")]
    #[schemars(range(min = 1))]
    pub batch: u32,
    /// Peak learning rate.
    #[serde(default = "lr")]
    #[schemars(range(min = 0))]
    pub lr: f64,
    /// Learning-rate schedule after the warm-up.
    #[serde(default)]
    pub schedule: Schedule,
    /// Share of all steps spent warming up linearly.
    #[serde(default = "warmup")]
    #[schemars(range(min = 0, max = 1))]
    pub warmup_ratio: f64,
    /// Steps spent warming up; overrides `warmup_ratio`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub warmup_steps: Option<u64>,
    /// `wsd`: share of all steps spent going down to zero.
    #[serde(default = "decay_ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub decay_ratio: f64,
    /// Decoupled weight decay.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// Whether weight decay also takes norms and biases, or matrices only.
    #[serde(default = "yes")]
    pub decay_norms: bool,
    /// AdamW's decay rates, each below 1.
    #[serde(default = "betas")]
    #[schemars(inner(range(min = 0, max = 0.999_999)))]
    pub betas: [f64; 2],
    /// AdamW's epsilon.
    #[serde(default = "eps")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub eps: f64,
    /// Clip the global gradient norm to this.
    #[serde(default = "clip")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub clip: f64,
    /// Train only the top this many blocks, the final norm and the head; 0
    /// trains the head alone. All, with the embedding, if absent.
    #[serde(default)]
    pub train_blocks: Option<u32>,
    /// Leave the embedding as it is; it is also with `train_blocks`
    /// and `lora`.
    #[serde(default)]
    pub freeze_embedding: bool,
    /// Train low-rank adapters of the blocks' matrices instead of the matrices.
    #[serde(default)]
    pub lora: Option<Lora>,
    /// Compute precision.
    #[serde(default)]
    pub precision: Precision,
    /// Precision of the exported weights; that of the computation if absent.
    #[serde(default)]
    pub export_precision: Option<Precision>,
    /// The exported weights are split into files of at most this many megabytes
    /// (10^6 bytes).
    #[serde(default = "max_shard_mb")]
    #[schemars(range(min = 1))]
    pub max_shard_mb: u32,
    /// Activation checkpointing: keep the input of every n-th block only, and
    /// compute n blocks at a time again in the backward pass. 1 takes the least
    /// time of those, the root of the number of blocks the least memory; absent,
    /// everything is kept. Not keyed: results are the same to the bit.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub recompute_every: Option<u32>,
    /// Seed of the head and the shuffling.
    #[serde(default)]
    pub seed: u64,
    /// Preference sets to evaluate on while training, after the last step in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate_on: Option<OneOrMany>,
    /// Evaluate after every this many steps; after every epoch if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub evaluate_every: Option<u64>,
    /// Evaluate after every epoch, with `evaluate_every` too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub evaluate_each_epoch: bool,
    /// Evaluate before the first step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub evaluate_at_start: bool,
    /// At most this many rows of each set of `evaluate_on`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub evaluate_limit: Option<u64>,
    /// The figure by which evaluations are compared: the mean over the sets.
    #[serde(default, skip_serializing_if = "is_default")]
    pub best_by: BestBy,
    /// Stop after this many evaluations in a row without improvement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub patience: Option<u64>,
    /// What counts as improvement for `patience`: more than this.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub min_delta: f64,
    /// Give the weights of the best evaluation instead of the last step's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_best: bool,
    /// Also give the model after every this many steps; other stages name it
    /// `STAGE@step-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub save_every: Option<u64>,
    /// Steps between checkpoints, from which a killed training goes on. Not keyed.
    #[serde(default = "checkpoint_every")]
    #[schemars(range(min = 1))]
    pub checkpoint_every: u64,
    /// Also write a checkpoint when the last is this many minutes old. Not keyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub checkpoint_minutes: Option<f64>,
    /// Checkpoints kept; the older ones are there in case the newest is damaged. Not keyed.
    #[serde(default = "checkpoint_keep")]
    #[schemars(range(min = 1))]
    pub checkpoint_keep: u32,
    /// At most this many rows of each set of `data` (after a set's own `limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

impl TrainReward {
    /// How global batches draw from the sets.
    pub fn mixing(&self) -> Mixing {
        self.mixing.unwrap_or(if self.method.weighs() {
            Mixing::Equal
        } else {
            Mixing::Proportional
        })
    }
}
