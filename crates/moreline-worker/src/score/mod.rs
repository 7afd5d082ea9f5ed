//! Rewards of responses, prompts computed once.

mod ensemble;
mod stage;

use std::path::Path;

use moreline_formats::ModelConfig;
use moreline_protocol::spec::{Pooling, Precision, Template, Truncation};
use moreline_text::Tokenizer;
use tch::{Device, Kind, no_grad};

pub(crate) use ensemble::{Rewards, combine, members};
use stage::score_groups;
pub(crate) use stage::{count_tokens, fed_as, timings};
pub use stage::{judge, score};

use crate::batch::{Group, Packed, micro};
use crate::error::WorkerError;
use crate::head::{PoolPlan, by_group, rewards, to_vec};
use crate::model::{Head, LoadedModel, compute_kind};
use crate::network;
use crate::text::{RewardText, Sequence};

/// A trained reward model with all it needs to score texts.
#[derive(Debug)]
pub struct RewardModel {
    model: LoadedModel,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How its texts are made and read.
    pub text: RewardText,
    token_budget: usize,
}

impl RewardModel {
    /// Opens an exported reward model. One made elsewhere, without our
    /// settings in its `config.json`, reads the last token of texts made by
    /// its chat template, up to its number of positions.
    ///
    /// # Errors
    /// Unreadable files, a model without a reward head.
    pub fn open(
        path: &Path,
        precision: Precision,
        device: Device,
        token_budget: usize,
    ) -> Result<Self, WorkerError> {
        let tokenizer = Tokenizer::load(path)?;
        let model = LoadedModel::open(path, Head::Reward, compute_kind(precision), device)?;
        let config = &model.decoder.config;
        tokenizer.check_fits(config.vocab_size)?;
        let text = reward_text(path, config)?;
        Ok(Self {
            model,
            tokenizer,
            text,
            token_budget,
        })
    }

    /// A sequence cut as in training; see [`RewardText::fit`].
    pub fn fit(&self, tokens: Vec<u32>) -> Sequence {
        self.text.fit(&self.tokenizer, tokens)
    }

    /// Groups cut into runs of at most the token budget; a run is computed at once.
    pub fn runs(&self, groups: &[Group]) -> Vec<std::ops::Range<usize>> {
        let sizes: Vec<usize> = groups.iter().map(Group::tokens).collect();
        micro::cut(&sizes, self.token_budget)
    }

    /// The rewards of each sequence of each group.
    ///
    /// # Errors
    /// Rewards that are not finite.
    pub fn rewards(&self, groups: &[Group]) -> Result<Vec<Vec<f64>>, WorkerError> {
        let LoadedModel {
            decoder,
            flats,
            device,
        } = &self.model;
        let packed = Packed::new(groups, &decoder.config, self.model.kind(), *device);
        let lengths: Vec<&[usize]> = groups.iter().map(|g| g.lengths.as_slice()).collect();
        let closed = self.tokenizer.eos().is_some();
        let pool = PoolPlan::new(&packed, &lengths, self.text.pooling, closed);
        let flat = no_grad(|| {
            let x = network::hidden(decoder, flats, &packed);
            let embeddings = pool.embeddings(decoder, &flats[decoder.norm_index()], &x);
            let score = flats[decoder.head_index()].to_kind(Kind::Float);
            to_vec(&rewards(&embeddings, &score))
        });
        if flat.iter().any(|reward| !reward.is_finite()) {
            return Err(WorkerError::input(
                "score responses: a reward is not finite",
                "the reward model's weights hold NaN or infinity; train it again with a lower `lr`",
            ));
        }
        Ok(by_group(&flat, groups.iter().map(|g| g.lengths.len())))
    }
}

fn reward_text(path: &Path, config: &ModelConfig) -> Result<RewardText, WorkerError> {
    let Some(stored) = config.raw.get("moreline") else {
        return Ok(RewardText {
            pooling: Pooling::Eos,
            template: Template::Auto,
            max_length: u32::try_from(config.max_positions).unwrap_or(u32::MAX),
            truncation: Truncation::Left,
        });
    };
    serde_json::from_value(stored.clone()).map_err(|e| {
        WorkerError::input(
            format!(
                "read `moreline` in {}: {e}",
                path.join("config.json").display()
            ),
            "the reward model was exported by another version; train it again",
        )
    })
}
