//! `evaluate-reward`, `perplexity` and `judge`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Combine, OneOrMany, Pairs, Precision, Template};
use super::is_default;
use super::training::CountedTokens;

/// Accuracy and calibration of a reward model on preference sets. Template,
/// length, truncation and pooling are the reward model's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateReward {
    /// The reward model, or several whose rewards are combined.
    pub model: OneOrMany,
    /// How the rewards of several models are made one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub combine: Combine,
    /// The preference sets, each reported on its own, and all together.
    pub data: OneOrMany,
    /// Pairs taken from rows of more than two responses.
    #[serde(default)]
    pub pairs: Pairs,
    /// Bins of the calibration errors: a number, or several, each measured. `ece`, `ace` and
    /// `mce` themselves, and the diagrams of the report, have the first.
    #[serde(default)]
    pub bins: Bins,
    /// Bootstrap resamples of each interval.
    #[serde(default = "resamples")]
    #[schemars(range(min = 1))]
    pub resamples: u32,
    /// Compute precision.
    #[serde(default)]
    pub precision: Precision,
    /// Seed of the bootstrap.
    #[serde(default)]
    pub seed: u64,
    /// At most this many rows of each row input (after a set's own `limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

/// Numbers of calibration bins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Bins {
    /// One number of bins.
    One(#[schemars(range(min = 1, max = 1000))] u32),
    /// Several, the main one first.
    Many(#[schemars(length(min = 1, max = 20), inner(range(min = 1, max = 1000)))] Vec<u32>),
}

impl Bins {
    /// The numbers, in order.
    pub fn counts(&self) -> &[u32] {
        match self {
            Self::One(count) => std::slice::from_ref(count),
            Self::Many(counts) => counts,
        }
    }
}

impl Default for Bins {
    /// 10.
    fn default() -> Self {
        Self::One(10)
    }
}

/// Perplexity of a language model on answers given their prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Perplexity {
    /// The language model.
    pub model: String,
    /// Prompt sets with answers, or examples.
    pub data: OneOrMany,
    /// Which tokens count.
    #[serde(default)]
    pub count: CountedTokens,
    /// How prompt and answer become a text.
    #[serde(default)]
    pub template: Template,
    /// Longest text in tokens; longer ones lose their first tokens.
    #[serde(default = "max_length")]
    #[schemars(range(min = 8))]
    pub max_length: u32,
    /// Compute precision.
    #[serde(default)]
    pub precision: Precision,
    /// At most this many rows of each row input (after a set's own `limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

/// Compare two sets of responses to the same prompts, response by response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Responses of side A; wins are counted for A.
    pub a: String,
    /// Responses of side B.
    pub b: String,
    /// Embedded judge: the reward model that scores both sides.
    #[serde(default)]
    pub model: Option<String>,
    /// Remote judge: name of an endpoint in the site file. Not keyed; the
    /// judge's identity is `judge_model`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Remote judge: the model to ask for.
    #[serde(default)]
    pub judge_model: Option<String>,
    /// Remote judge: what makes a response better, put into its prompt.
    #[serde(default = "criterion")]
    pub criterion: String,
    /// Embedded judge: reward differences up to this are ties.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub tie_margin: f64,
    /// Bootstrap resamples of the win rate's interval.
    #[serde(default = "resamples")]
    #[schemars(range(min = 1))]
    pub resamples: u32,
    /// Compute precision of an embedded judge.
    #[serde(default)]
    pub precision: Precision,
    /// Seed of the bootstrap.
    #[serde(default)]
    pub seed: u64,
    /// At most this many rows of each row input (after a set's own `limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

fn resamples() -> u32 {
    1000
}
fn max_length() -> u32 {
    512
}
fn criterion() -> String {
    "which response is more helpful, honest and harmless".into()
}
