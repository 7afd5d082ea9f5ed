//! `select` and `import`: stages without a model, run by the engine itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults::is_default;

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

/// How the rows of a raw preference set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawFormat {
    /// `chosen` and `rejected`: whole dialogues, as HH-RLHF publishes them.
    HhRlhf,
    /// `text` and `score` (or `texts`, `scores`): dialogues, or query and answer
    /// with `<sep>` between them.
    More,
    /// TRL's `prompt`, `chosen`, `rejected` as texts or messages; without a
    /// `prompt` it is what both begin with.
    Trl,
    /// `prompt`, `responses` and `scores`.
    Moreline,
    /// WebGPT comparisons.
    Webgpt,
    /// OASST message trees, nested or flat: ranked replies to one message.
    Oasst,
    /// Comparisons of summaries.
    SummarizeFromFeedback,
    /// An `instruction` and a list of scored `completions`.
    Ultrafeedback,
}

impl RawFormat {
    /// Every form, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::HhRlhf,
        Self::More,
        Self::Trl,
        Self::Moreline,
        Self::Webgpt,
        Self::Oasst,
        Self::SummarizeFromFeedback,
        Self::Ultrafeedback,
    ];

    /// The name used in experiment files.
    pub fn name(self) -> &'static str {
        match self {
            Self::HhRlhf => "hh-rlhf",
            Self::More => "more",
            Self::Trl => "trl",
            Self::Moreline => "moreline",
            Self::Webgpt => "webgpt",
            Self::Oasst => "oasst",
            Self::SummarizeFromFeedback => "summarize-from-feedback",
            Self::Ultrafeedback => "ultrafeedback",
        }
    }
}

/// Which of its ratings scores a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rating {
    /// `overall_score` (or `score`).
    #[default]
    Overall,
    /// `fine-grained_score`, the mean of the ratings of single aspects.
    FineGrained,
}

/// Turn a raw preference set into plain prompt, chosen and rejected rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The raw set: JSON, JSON Lines, either in gzip or zstd, or Parquet.
    pub data: String,
    /// The form of its rows; told by the first rows if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<RawFormat>,
    /// `oasst`: take only messages of this language, for example `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `ultrafeedback`: which of the ratings is the score.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rating: Rating,
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
