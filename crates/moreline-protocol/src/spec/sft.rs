//! `sft`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{OneOrMany, Precision, Template, Truncation};
use super::defaults::{
    batch, betas, checkpoint_every, checkpoint_keep, clip, decay_ratio, eps, is_default, lr,
    max_length, max_shard_mb, one_epoch, warmup, yes,
};
use super::lora::Lora;
use super::training::{CountedTokens, Schedule};

/// Supervised fine-tuning on prompts and responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sft {
    /// The language model to start from.
    pub model: String,
    /// Selected examples, or prompt sets with answers.
    pub data: OneOrMany,
    /// Which tokens the loss counts.
    #[serde(default)]
    pub loss_on: CountedTokens,
    /// Share of each label's probability spread evenly over the vocabulary.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub label_smoothing: f64,
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
    /// Examples per optimiser step, over all ranks.
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
    /// Train only the top this many blocks, the final norm and a head of its own;
    /// 0 trains the head alone. All, with the embedding, if absent.
    #[serde(default)]
    pub train_blocks: Option<u32>,
    /// Leave the embedding as it is (and the head with it, if tied); it is also with `train_blocks`
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
    /// Seed of the shuffling.
    #[serde(default)]
    pub seed: u64,
    /// Examples, or prompt sets with answers, to evaluate on while training, after the last step in any case.
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
