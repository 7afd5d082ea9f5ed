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
    /// Min-norm weights of the sets' head gradients (MORE).
    More,
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
