//! Decoders as lists of segments: embedding, each block, final norm, head.

pub mod adapter;
pub mod layers;
pub mod layout;

mod export;
mod gpt_neox;
mod llama;
mod load;

use moreline_formats::ModelConfig;
use tch::Tensor;

pub use export::{ExportHead, Exporter};
pub use load::{LoadedModel, compute_kind, host_to_tensor, stored_kind, tensor_to_host};

use adapter::BlockWeights;
use layers::{Attend, Rotary};
use layout::{Segment, View};

/// What sits on top of the final norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Next-token logits; for a tied model the embedding itself.
    Language,
    /// One linear reward, without bias.
    Reward,
}

/// A decoder's topology: what each segment holds and computes. It owns no
/// weights and knows nothing of devices or ranks.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// The configuration it was built from.
    pub config: ModelConfig,
    /// What sits on top.
    pub head: Head,
    /// Embedding, blocks, final norm and, unless the head is a tied LM head,
    /// the head.
    pub segments: Vec<Segment>,
}

impl Decoder {
    /// The segments of a model with this configuration and head.
    pub fn new(config: ModelConfig, head: Head) -> Self {
        let llama = config.architecture.is_llama_family();
        let hidden = config.hidden_size as i64;
        let vocabulary = config.vocab_size as i64;
        let embedding = if llama {
            "model.embed_tokens.weight"
        } else {
            "gpt_neox.embed_in.weight"
        };
        let mut segments = vec![Segment {
            views: vec![View::single(embedding, &[vocabulary, hidden])],
        }];
        for layer in 0..config.layers {
            segments.push(if llama {
                llama::block_segment(&config, layer)
            } else {
                gpt_neox::block_segment(&config, layer)
            });
        }
        segments.push(if llama {
            llama::norm_segment(&config)
        } else {
            gpt_neox::norm_segment(&config)
        });
        segments.extend(match head {
            Head::Reward => Some(Segment {
                views: vec![View::single("score.weight", &[1, hidden])],
            }),
            Head::Language => Self::lm_head_segment(&config),
        });
        Self {
            config,
            head,
            segments,
        }
    }

    /// Index of the first block's segment.
    pub const FIRST_BLOCK: usize = 1;

    /// Index of the final norm's segment.
    pub fn norm_index(&self) -> usize {
        Self::FIRST_BLOCK + self.config.layers
    }

    /// Index of the segment that holds the head's matrix: the embedding's if tied.
    pub fn head_index(&self) -> usize {
        if self.segments.len() > self.norm_index() + 1 {
            self.norm_index() + 1
        } else {
            0
        }
    }

    /// The embedding's rows for `tokens` `[T]`: `[T, H]`.
    pub fn embed(&self, flat: &Tensor, tokens_t: &Tensor) -> Tensor {
        let table = &self.segments[0].split(flat)[0];
        Tensor::embedding(table, tokens_t, -1, false, false)
    }

    /// Block `layer` on `x` `[T, H]`, with the segment's flat parameters in
    /// the dtype of `x`.
    pub fn block(
        &self,
        layer: usize,
        flat: &Tensor,
        x: &Tensor,
        rotary: &Rotary,
        attention: &dyn Attend,
    ) -> Tensor {
        let weights = BlockWeights {
            flat,
            adapter: None,
        };
        self.block_with(layer, &weights, x, rotary, attention)
    }

    /// [`Self::block`] with an adapter, if it has one.
    pub fn block_with(
        &self,
        layer: usize,
        weights: &BlockWeights<'_>,
        x: &Tensor,
        rotary: &Rotary,
        attention: &dyn Attend,
    ) -> Tensor {
        let segment = &self.segments[Self::FIRST_BLOCK + layer];
        let parameters = match weights.adapter {
            Some((adapter, _)) => adapter.weights(segment, weights),
            None => adapter::plain(segment, weights.flat),
        };
        if self.config.architecture.is_llama_family() {
            llama::block(&self.config, layer, &parameters, x, rotary, attention)
        } else {
            gpt_neox::block(&self.config, layer, &parameters, x, rotary, attention)
        }
    }

    /// The final norm on `x` `[.., H]`, parameters in the dtype of `x`.
    pub fn norm(&self, flat: &Tensor, x: &Tensor) -> Tensor {
        let parameters = self.segments[self.norm_index()].split(flat);
        if self.config.architecture.is_llama_family() {
            llama::norm(&self.config, &parameters, x)
        } else {
            gpt_neox::norm(&self.config, &parameters, x)
        }
    }

    /// The head's matrix, `[vocabulary, H]` or `[1, H]`, out of the flat tensor
    /// of segment [`Self::head_index`].
    pub fn head_matrix(&self, flat: &Tensor) -> Tensor {
        self.segments[self.head_index()].split(flat).remove(0)
    }

    /// The segment of a language model's own head, under its name in files;
    /// absent if the head is the embedding.
    pub fn lm_head_segment(config: &ModelConfig) -> Option<Segment> {
        let name = if config.architecture.is_llama_family() {
            "lm_head.weight"
        } else {
            "embed_out.weight"
        };
        let shape = [config.vocab_size as i64, config.hidden_size as i64];
        let view = (!config.tied).then(|| View::single(name, &shape))?;
        Some(Segment { views: vec![view] })
    }

    /// Number of parameters.
    pub fn numel(&self) -> i64 {
        self.segments.iter().map(Segment::numel).sum()
    }
}
