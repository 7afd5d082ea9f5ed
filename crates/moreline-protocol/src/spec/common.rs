//! Settings shared by several kinds of stages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A name or a list of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// A single name.
    One(String),
    /// Several names, in order.
    Many(#[schemars(length(min = 1))] Vec<String>),
}

impl OneOrMany {
    /// The names, in order.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }

    /// The names, to be changed.
    pub fn names_mut(&mut self) -> &mut [String] {
        match self {
            Self::One(name) => std::slice::from_mut(name),
            Self::Many(names) => names,
        }
    }
}

/// What several reward models say of a response, made one reward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// The mean of their rewards.
    #[default]
    Mean,
    /// The lowest of their rewards.
    Min,
    /// The mean of their z-scores: each model's rewards less their mean, divided by their
    /// standard deviation (n - 1), both over the stage's responses (`score`) or those of a set
    /// (`evaluate-reward`). Models of different scales count alike.
    StandardisedMean,
}

/// Precision of the matrix products. Weights, optimiser state, losses and
/// reductions are fp32 in either case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// bfloat16 compute.
    #[default]
    Bf16,
    /// fp32 throughout.
    Fp32,
}

/// How a prompt and a response become one text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Template {
    /// Published texts as they are; for rows with a prompt of their own the
    /// model's chat template if it has one, else `human-assistant`.
    #[default]
    Auto,
    /// The text as it stands; a prompt's messages are joined by nothing.
    Raw,
    /// `\n\nHuman: ...\n\nAssistant: ...`
    HumanAssistant,
    /// `## Human:\n...\n\n## Assistant:\n...`
    HashHuman,
    /// The model's own Jinja chat template.
    Chat,
}

/// What to do with a text of more than `max_length` tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Truncation {
    /// Keep the last tokens (and BOS): the end of the dialogue matters most.
    #[default]
    Left,
    /// Keep exactly the last tokens, BOS lost with the rest, as the published
    /// code does.
    LeftPublished,
    /// Keep the first tokens (and EOS).
    Right,
    /// Leave the whole row out, and count it.
    Drop,
}

/// Which pairs a row of more than two responses gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pairs {
    /// Every pair of responses.
    #[default]
    All,
    /// Only the best against the worst (the first of each among equals).
    BestWorst,
    /// Only the first two responses as they are listed, whatever their scores,
    /// as in the published code.
    FirstTwo,
}
