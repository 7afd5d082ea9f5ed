//! `select` and `import`: stages without a model, run by the engine itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Choose among scored responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// The scored responses.
    pub responses: String,
    /// How to choose.
    #[serde(default)]
    pub strategy: Strategy,
    /// `top-k`: how many responses of each prompt.
    #[serde(default = "k")]
    #[schemars(range(min = 1))]
    pub k: u32,
    /// `threshold`: the lowest score taken.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// Leave out responses cut at the token limit.
    #[serde(default)]
    pub drop_unfinished: bool,
    /// At most this many rows of each row input (after a set's own `limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

/// How `select` chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The best response of each prompt (reject sampling).
    #[default]
    BestOfN,
    /// The best `k` of each prompt.
    TopK,
    /// Every response scored at least `threshold`.
    Threshold,
    /// The best and the worst of each prompt as a preference pair.
    BestWorst,
}

impl Strategy {
    /// True if the result is a preference set rather than examples.
    pub fn makes_pairs(self) -> bool {
        self == Self::BestWorst
    }
}

/// Turn a raw preference set into plain prompt, chosen and rejected rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The raw set: JSON or JSON Lines, gzip too.
    pub data: String,
    /// Largest share of bad rows to leave out, from 0 to 1; more fail the stage.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub max_bad_share: f64,
    /// Leave out rows that repeat an earlier one.
    #[serde(default = "yes")]
    pub deduplicate: bool,
    /// At most this many rows of each row input (after a set's own `limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

fn k() -> u32 {
    1
}
fn yes() -> bool {
    true
}
