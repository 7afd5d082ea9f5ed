//! What must hold in every configuration, whatever its source.

use std::path::Path;

use super::{Activation, Architecture, ModelConfig, RopeScaling};
use crate::error::FormatError;

/// Far above every published model; keeps products of sizes within 64 bits.
const MAX_SIZE: usize = 1 << 24;
/// As far above every published model: each layer costs memory before a tensor is read.
const MAX_LAYERS: usize = 1 << 12;

impl ModelConfig {
    pub(super) fn check(&self, path: &Path) -> Result<(), FormatError> {
        self.check_sizes(path)?;
        self.check_heads(path)?;
        self.check_rope(path)?;
        self.check_tokens(path)?;
        self.check_topology(path)
    }

    fn check_sizes(&self, path: &Path) -> Result<(), FormatError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_positions),
        ];
        for (key, size) in sizes {
            let most = match key {
                "num_hidden_layers" => MAX_LAYERS,
                _ => MAX_SIZE,
            };
            if size == 0 || size > most {
                let reason = format!("it is {size}, it should be between 1 and {most}");
                return Err(FormatError::key(path, key, reason));
            }
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            let reason = format!(
                "it is {}, it should be a small positive number",
                self.norm_eps
            );
            return Err(FormatError::key(
                path,
                "rms_norm_eps or layer_norm_eps",
                reason,
            ));
        }
        Ok(())
    }

    fn check_heads(&self, path: &Path) -> Result<(), FormatError> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            let reason = format!(
                "{} does not divide `num_attention_heads` = {}",
                self.kv_heads, self.heads
            );
            return Err(FormatError::key(path, "num_key_value_heads", reason));
        }
        if !self.head_dim.is_multiple_of(2) {
            let reason = format!("it is {}, it should be even", self.head_dim);
            return Err(FormatError::key(path, "head_dim", reason));
        }
        Ok(())
    }

    fn check_rope(&self, path: &Path) -> Result<(), FormatError> {
        let rope = &self.rope;
        if !(rope.theta.is_finite() && rope.theta > 0.0) {
            let reason = format!("it is {}, it should be a positive number", rope.theta);
            return Err(FormatError::key(path, "rope_theta", reason));
        }
        if !rope.dims.is_multiple_of(2) || rope.dims == 0 || rope.dims > self.head_dim {
            let reason = format!(
                "{} of {} dimensions of a head would be rotated; it must be an even, positive \
                 number of them",
                rope.dims, self.head_dim
            );
            return Err(FormatError::key(path, "rotary_pct", reason));
        }
        let sound = match rope.scaling {
            RopeScaling::None => true,
            RopeScaling::Linear { factor } => factor.is_finite() && factor >= 1.0,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                ..
            } => {
                factor.is_finite()
                    && factor >= 1.0
                    && low_freq_factor > 0.0
                    && high_freq_factor.is_finite()
                    && high_freq_factor > low_freq_factor
            }
        };
        if sound {
            return Ok(());
        }
        let reason = "its factors should be at least 1, the high one above the low one";
        Err(FormatError::key(path, "rope_scaling", reason))
    }

    fn check_tokens(&self, path: &Path) -> Result<(), FormatError> {
        let eos = self.eos_ids.iter().map(|&id| ("eos_token_id", id));
        let bos = self.bos_id.iter().map(|&id| ("bos_token_id", id));
        // A padding id just beyond the vocabulary occurs in published files and is harmless here:
        // padding is never fed to the model.
        match eos
            .chain(bos)
            .find(|&(_, id)| id as usize >= self.vocab_size)
        {
            None => Ok(()),
            Some((key, id)) => {
                let reason = format!("it is {id}, but `vocab_size` is {}", self.vocab_size);
                Err(FormatError::key(path, key, reason))
            }
        }
    }

    /// The combinations that no Hugging Face class has.
    fn check_topology(&self, path: &Path) -> Result<(), FormatError> {
        let gated = self.activation == Activation::Silu;
        if self.architecture.is_llama_family() != gated {
            let reason = "the LLaMA family has silu, GPT-NeoX a form of gelu";
            return Err(FormatError::key(path, "hidden_act", reason));
        }
        let (qkv, output) = (self.qkv_bias, self.attention_output_bias);
        let fits = match self.architecture {
            Architecture::Llama => qkv == output,
            Architecture::Mistral => !qkv && !output && !self.mlp_bias,
            Architecture::Qwen2 => qkv && !output && !self.mlp_bias,
            Architecture::GptNeox => qkv == output && self.mlp_bias,
        };
        if fits {
            return Ok(());
        }
        let name = self.architecture.model_type();
        let reason = format!(
            "query, key, value: {qkv}, output: {output}, MLP: {}; models of type {name} are not \
             made so",
            self.mlp_bias
        );
        Err(FormatError::key(path, "biases", reason))
    }
}
