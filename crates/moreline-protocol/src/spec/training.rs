//! The choices of a training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The figure by which evaluations are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BestBy {
    /// The lower the loss, the better.
    #[default]
    Loss,
    /// The higher the accuracy, the better.
    Accuracy,
}

/// How the losses of several preference sets are combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Every pair counts the same (the paper's MultiTask baseline).
    #[default]
    Uniform,
    /// `uniform` on exactly one set (the paper's Single baseline).
    Single,
    /// Min-norm weights of the sets' head gradients (MORE).
    More,
    /// Head gradients that conflict are projected onto each other's normal plane
    /// in a random order (PCGrad, arXiv 2001.06782); the weights are those of
    /// the head gradients in their sum, divided by the sum of the weights.
    Pcgrad,
    /// Dynamic weight averaging (arXiv 1803.10704): the slower a set's loss
    /// falls, the more it weighs.
    Dwa,
}

impl Method {
    /// Whether the sets get weights, and so the same number of rows of a batch.
    pub fn weighs(self) -> bool {
        match self {
            Self::Uniform | Self::Single => false,
            Self::More | Self::Pcgrad | Self::Dwa => true,
        }
    }

    /// Whether the weights follow from the sets' head gradients.
    pub fn needs_head_grads(self) -> bool {
        matches!(self, Self::More | Self::Pcgrad)
    }
}

/// How task gradients are scaled before MORE's weights are solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Normalize {
    /// As they are.
    #[serde(rename = "none")]
    None,
    /// Divided by their L2 norm.
    #[serde(rename = "l2")]
    L2,
    /// Divided by the task's share of the losses: (1 + L_k) / sum_j (1 + L_j).
    #[serde(rename = "loss")]
    Loss,
    /// Divided by the product of the task's loss and the norm.
    #[serde(rename = "loss+")]
    LossPlus,
}

/// Solver of MORE's min-norm problem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// Active set, exact to rounding.
    #[default]
    Exact,
    /// The published iteration.
    FrankWolfe,
}

/// How global batches draw from several sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mixing {
    /// All rows shuffled together.
    Proportional,
    /// The same number of rows of each set in every batch; shorter sets start
    /// over, and an epoch ends with the longest.
    Equal,
    /// In proportion to the sets' sizes raised to 1 / `mixing_temperature`:
    /// between `proportional` (1) and `equal` (high temperatures).
    Temperature,
    /// In proportion to `mixing_weights`.
    Weights,
}

/// What becomes of pairs whose scores are equal, or differ by no more than
/// `noise_margin`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// They are left out.
    #[default]
    Skip,
    /// Either order counts half: -(log sigmoid(d) + log sigmoid(-d)) / 2 with d
    /// the difference of the rewards, which is least where they are equal.
    Half,
}

/// Where the reward is read, always by the text's true length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The token before EOS.
    #[default]
    Last,
    /// EOS itself.
    Eos,
    /// The mean over all tokens.
    Mean,
    /// The maximum over all tokens.
    Max,
}

/// Learning-rate schedule after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a cosine down to zero.
    #[default]
    Cosine,
    /// A straight line down to zero.
    Linear,
    /// The peak throughout.
    Constant,
    /// The peak, then a straight line down to zero over the last `decay_ratio`
    /// of the steps (warm-up, stable, decay: arXiv 2404.06395).
    Wsd,
}

/// Which tokens a language-model loss counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CountedTokens {
    /// The response and its end token.
    #[default]
    Response,
    /// Every token but the first.
    All,
}
