//! Parameters of every kind of stage, as written in an experiment file.
//!
//! One struct per kind serves the experiment file, the JSON schema, the key
//! and the job. Reference fields (see [`crate::artifact::roles`]) hold names;
//! in a key they are replaced by the digests of what they name. Fields listed
//! in [`StageSpec::unkeyed`] do not change results and stay out of the key.

mod common;
mod compat;
mod defaults;
mod evaluate;
mod generate;
mod lora;
mod records;
mod sft;
mod train;
mod training;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use common::{Combine, OneOrMany, Pairs, Precision, Template, Truncation};
pub use compat::{Compat, FirstMomentum, Resampling, ScoreScale, WeightedLoss, published};
pub use evaluate::{Bins, EvaluateReward, Judge, Perplexity};
pub use generate::{Generate, Score};
pub use lora::{Lora, LoraTarget};
pub use records::{Import, Rating, RawFormat, Select, Strategy};
pub use sft::Sft;
pub use train::TrainReward;
pub use training::{
    BestBy, CountedTokens, Method, Mixing, Normalize, Pooling, Schedule, Solver, Ties,
};

/// The field that names the sets a training is evaluated on.
pub const EVALUATE_ON: &str = "evaluate_on";

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The parameters of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StageSpec {
    /// Train a reward model on one or several preference sets.
    TrainReward(TrainReward),
    /// Accuracy and calibration of a reward model.
    EvaluateReward(EvaluateReward),
    /// Sample responses to prompts.
    Generate(Generate),
    /// Score responses with a reward model.
    Score(Score),
    /// Choose among scored responses.
    Select(Select),
    /// Fine-tune a language model on prompts and responses.
    Sft(Sft),
    /// Perplexity of reference answers.
    Perplexity(Perplexity),
    /// Compare two sets of responses.
    Judge(Judge),
    /// Turn a raw preference set into plain pairs.
    Import(Import),
}

/// The kind of a stage, without its parameters.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// See [`TrainReward`].
    TrainReward,
    /// See [`EvaluateReward`].
    EvaluateReward,
    /// See [`Generate`].
    Generate,
    /// See [`Score`].
    Score,
    /// See [`Select`].
    Select,
    /// See [`Sft`].
    Sft,
    /// See [`Perplexity`].
    Perplexity,
    /// See [`Judge`].
    Judge,
    /// See [`Import`].
    Import,
}

impl StageKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::TrainReward,
        Self::EvaluateReward,
        Self::Generate,
        Self::Score,
        Self::Select,
        Self::Sft,
        Self::Perplexity,
        Self::Judge,
        Self::Import,
    ];

    /// The name used in experiment files.
    pub fn name(self) -> &'static str {
        match self {
            Self::TrainReward => "train-reward",
            Self::EvaluateReward => "evaluate-reward",
            Self::Generate => "generate",
            Self::Score => "score",
            Self::Select => "select",
            Self::Sft => "sft",
            Self::Perplexity => "perplexity",
            Self::Judge => "judge",
            Self::Import => "import",
        }
    }

    /// Version of the kind's numbers, part of every key: raised whenever the
    /// same inputs and parameters would give different outputs.
    pub fn version(self) -> u32 {
        match self {
            // 2: masters are read in fp32; rows without prompt or response are left out.
            // 3: histories say more, with evaluation while training.
            // 4: attention by the kernel for trees; the common beginning of responses is
            //    their prompt for `lm_loss` even where it is too short to be shared.
            // 5: the embedding's gradient is summed in fp32; texts cut on the right are
            //    not taught to end there.
            // 6: bf16 copies of the masters are rounded by a dither.
            Self::TrainReward | Self::Sft => 6,
            // 2: rows without prompt or response are left out.
            // 3: attention by the kernel for trees.
            Self::Perplexity => 3,
            // 2: responses share prefixes that not all of a row have.
            // 3: attention by the kernel for trees.
            Self::EvaluateReward | Self::Score | Self::Judge => 3,
            // 2: prompts are attended to by the kernel for trees.
            // 3: the generation settings' end tokens end a response.
            Self::Generate => 3,
            Self::Select | Self::Import => 1,
        }
    }
}

impl StageSpec {
    /// The kind of this stage.
    pub fn kind(&self) -> StageKind {
        match self {
            Self::TrainReward(_) => StageKind::TrainReward,
            Self::EvaluateReward(_) => StageKind::EvaluateReward,
            Self::Generate(_) => StageKind::Generate,
            Self::Score(_) => StageKind::Score,
            Self::Select(_) => StageKind::Select,
            Self::Sft(_) => StageKind::Sft,
            Self::Perplexity(_) => StageKind::Perplexity,
            Self::Judge(_) => StageKind::Judge,
            Self::Import(_) => StageKind::Import,
        }
    }

    /// Fields that are recorded but never keyed: they move work about and
    /// leave the result alone.
    pub fn unkeyed(&self) -> &'static [&'static str] {
        match self {
            // What `compat` stands for is written out in the other settings.
            Self::TrainReward(_) | Self::Sft(_) => &[
                "checkpoint_every",
                "checkpoint_minutes",
                "checkpoint_keep",
                "recompute_every",
                "compat",
            ],
            Self::Judge(_) => &["endpoint"],
            _ => &[],
        }
    }

    /// The stage's own limit on a role's inputs: at most this many rows of
    /// each, on top of what a set's [`crate::job::RowRange`] says.
    pub fn limit(&self, role: &str) -> Option<u64> {
        match self {
            Self::TrainReward(spec) if role == EVALUATE_ON => spec.evaluate_limit,
            Self::Sft(spec) if role == EVALUATE_ON => spec.evaluate_limit,
            Self::TrainReward(spec) => spec.limit,
            Self::EvaluateReward(spec) => spec.limit,
            Self::Generate(spec) => spec.limit,
            Self::Score(spec) => spec.limit,
            Self::Select(spec) => spec.limit,
            Self::Sft(spec) => spec.limit,
            Self::Perplexity(spec) => spec.limit,
            Self::Judge(spec) => spec.limit,
            Self::Import(spec) => spec.limit,
        }
    }

    /// Steps between the intermediate models a training gives, and the steps
    /// it takes, if the settings say; nothing for stages that give none.
    pub fn saves(&self) -> Option<(u64, Option<u64>)> {
        match self {
            Self::TrainReward(spec) => Some((spec.save_every?, spec.steps)),
            Self::Sft(spec) => Some((spec.save_every?, spec.steps)),
            _ => None,
        }
    }

    /// True if the engine runs this stage itself, without a worker.
    pub fn runs_in_engine(&self) -> bool {
        match self {
            Self::Select(_) | Self::Import(_) => true,
            Self::Judge(judge) => judge.endpoint.is_some(),
            _ => false,
        }
    }
}
