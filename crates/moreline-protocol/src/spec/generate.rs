//! `generate` and `score`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Combine, OneOrMany, Precision, Template};
use super::is_default;

/// Sample responses to prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// The language model.
    pub model: String,
    /// The prompt set.
    pub prompts: String,
    /// Responses per prompt.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub samples: u32,
    /// Most tokens of a response.
    #[serde(default = "max_new_tokens")]
    #[schemars(range(min = 1))]
    pub max_new_tokens: u32,
    /// Sampling temperature; 0 takes the likeliest token.
    #[serde(default = "temperature")]
    #[schemars(range(min = 0))]
    pub temperature: f64,
    /// Sample from the smallest set of tokens with this probability in all.
    #[serde(default = "top_p")]
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub top_p: f64,
    /// Sample from the likeliest this many tokens; 0 for all.
    #[serde(default)]
    pub top_k: u32,
    /// Strings that end a response; they are cut off.
    #[serde(default)]
    pub stop: Vec<String>,
    /// How a prompt becomes a text.
    #[serde(default)]
    pub template: Template,
    /// Compute precision.
    #[serde(default)]
    pub precision: Precision,
    /// Sampling seed.
    #[serde(default)]
    pub seed: u64,
    /// At most this many rows of each row input (after a set's own `limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

/// Score responses with a reward model. Template, length, truncation and
/// pooling are the reward model's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The reward model, or several whose rewards are combined.
    pub model: OneOrMany,
    /// How the rewards of several models are made one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub combine: Combine,
    /// The responses.
    pub responses: String,
    /// Compute precision.
    #[serde(default)]
    pub precision: Precision,
    /// At most this many rows of each row input (after a set's own `limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

fn one() -> u32 {
    1
}
fn max_new_tokens() -> u32 {
    128
}
fn temperature() -> f64 {
    1.0
}
fn top_p() -> f64 {
    1.0
}
