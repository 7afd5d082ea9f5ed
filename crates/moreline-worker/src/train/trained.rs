//! Which parts of a model are trained.

use moreline_protocol::spec::{Lora, Sft, TrainReward};

use crate::error::WorkerError;
use crate::model::{Decoder, Head};

/// What of a model is trained.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trained<'a> {
    /// The top this many blocks, the final norm and a head of its own (0: the
    /// head alone); everything if absent.
    pub blocks: Option<u32>,
    /// Leave the embedding as it is in any case.
    pub freeze_embedding: bool,
    /// Adapters of these blocks instead; a reward head is trained beside them.
    pub lora: Option<&'a Lora>,
    /// Seed of new adapters.
    pub seed: u64,
}

impl<'a> From<&'a TrainReward> for Trained<'a> {
    fn from(spec: &'a TrainReward) -> Self {
        Self {
            blocks: spec.train_blocks,
            freeze_embedding: spec.freeze_embedding,
            lora: spec.lora.as_ref(),
            seed: spec.seed,
        }
    }
}

impl<'a> From<&'a Sft> for Trained<'a> {
    fn from(spec: &'a Sft) -> Self {
        Self {
            blocks: spec.train_blocks,
            freeze_embedding: spec.freeze_embedding,
            lora: spec.lora.as_ref(),
            seed: spec.seed,
        }
    }
}

impl Trained<'_> {
    /// The lowest block that is trained or has an adapter; the number of blocks
    /// if none does.
    pub fn first_block(&self, layers: usize) -> usize {
        self.blocks
            .map_or(0, |top| layers.saturating_sub(top as usize))
    }

    /// For each segment whether it is trained itself.
    ///
    /// # Errors
    /// Nothing to train.
    pub fn segments(&self, decoder: &Decoder) -> Result<Vec<bool>, WorkerError> {
        let norm = decoder.norm_index();
        let lowest = Decoder::FIRST_BLOCK + self.first_block(decoder.config.layers);
        let trained = |i: usize| match (self.lora, self.blocks) {
            (Some(_), _) => i > norm && decoder.head == Head::Reward,
            (None, None) => i > 0 || !self.freeze_embedding,
            (None, Some(0)) => i > norm,
            (None, Some(_)) => i >= lowest,
        };
        let found: Vec<bool> = (0..decoder.segments.len()).map(trained).collect();
        if self.lora.is_some() && lowest == norm {
            return Err(WorkerError::input(
                "train adapters of no blocks: `train_blocks` is 0",
                "leave `train_blocks` out, or name how many of the top blocks get adapters",
            ));
        }
        if self.lora.is_none() && !found.contains(&true) {
            return Err(WorkerError::input(
                "train the head alone: this model's head is its embedding",
                "set `train_blocks` to 1 or more, or use `lora`",
            ));
        }
        Ok(found)
    }
}
