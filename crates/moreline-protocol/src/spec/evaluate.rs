//! `evaluate-reward`, `perplexity` and `judge`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{OneOrMany, Pairs, Precision, Template};
use super::training::CountedTokens;

/// Accuracy and calibration of a reward model on preference sets. Template,
/// length, truncation and pooling are the reward model's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateReward {
    /// The reward model.
    pub model: String,
    /// The preference sets, each reported on its own.
    pub data: OneOrMany,
    /// Pairs taken from rows of more than two responses.
    #[serde(default)]
    pub pairs: Pairs,
    /// Bins of the calibration errors.
    #[serde(default = "bins")]
    #[schemars(range(min = 1))]
    pub bins: u32,
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

fn bins() -> u32 {
    10
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
