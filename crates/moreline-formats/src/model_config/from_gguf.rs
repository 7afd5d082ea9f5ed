//! A configuration from GGUF metadata.

use std::path::Path;

use serde_json::Map;

use super::{Activation, Architecture, ModelConfig, Rope, RopeScaling};
use crate::error::FormatError;
use crate::gguf::{Gguf, GgufTensor};
use crate::tensor::HostData;

/// Llama 3.1 and its successors: converters write the resulting factors, not these parameters.
const LLAMA3_LOW: f64 = 1.0;
const LLAMA3_HIGH: f64 = 4.0;
const LLAMA3_ORIGINAL: usize = 8192;

/// The metadata with the architecture's prefix.
struct Metadata<'a> {
    gguf: &'a Gguf,
    prefix: &'static str,
}

impl Metadata<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn path(&self) -> &Path {
        self.gguf.path()
    }

    fn size(&self, key: &str) -> Result<Option<usize>, FormatError> {
        let key = self.key(key);
        let Some(value) = self.gguf.unsigned(&key)? else {
            return Ok(None);
        };
        let too_large = || FormatError::key(self.path(), &key, format!("{value} is too large"));
        usize::try_from(value).map(Some).map_err(|_| too_large())
    }

    fn required(&self, key: &str) -> Result<usize, FormatError> {
        self.size(key)?
            .ok_or_else(|| FormatError::key(self.path(), &self.key(key), "it is missing"))
    }

    fn has(&self, tensor: &str) -> bool {
        self.gguf.tensor(tensor).is_some()
    }

    fn token(&self, key: &str) -> Result<Option<u32>, FormatError> {
        let Some(id) = self.gguf.unsigned(key)? else {
            return Ok(None);
        };
        let too_large = || FormatError::key(self.path(), key, format!("{id} is too large"));
        u32::try_from(id).map(Some).map_err(|_| too_large())
    }
}

impl ModelConfig {
    /// The configuration of an opened GGUF file, architecture `llama` or `qwen2`.
    ///
    /// # Errors
    /// Missing keys, other architectures, experts, unknown rope scaling.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, FormatError> {
        let architecture = architecture(gguf)?;
        let m = Metadata {
            gguf,
            prefix: architecture.model_type(),
        };
        refuse_experts(&m)?;
        let heads = m.required("attention.head_count")?;
        let hidden_size = m.required("embedding_length")?;
        let head_dim = match m.size("attention.key_length")? {
            Some(size) => size,
            None => hidden_size.checked_div(heads).unwrap_or(0),
        };
        let norm_eps = "attention.layer_norm_rms_epsilon";
        let mut config = Self {
            architecture,
            vocab_size: vocab_size(gguf)?,
            hidden_size,
            intermediate_size: m.required("feed_forward_length")?,
            layers: m.required("block_count")?,
            heads,
            kv_heads: m.size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            norm_eps: gguf
                .float(&m.key(norm_eps))?
                .ok_or_else(|| FormatError::key(gguf.path(), &m.key(norm_eps), "it is missing"))?,
            rope: rope(&m, head_dim)?,
            tied: !m.has("output.weight"),
            max_positions: m.required("context_length")?,
            bos_id: m.token("tokenizer.ggml.bos_token_id")?,
            eos_ids: m
                .token("tokenizer.ggml.eos_token_id")?
                .into_iter()
                .collect(),
            pad_id: m.token("tokenizer.ggml.padding_token_id")?,
            qkv_bias: m.has("blk.0.attn_q.bias"),
            attention_output_bias: m.has("blk.0.attn_output.bias"),
            mlp_bias: m.has("blk.0.ffn_up.bias"),
            activation: Activation::Silu,
            parallel_residual: false,
            dtype: None,
            raw: Map::new(),
        };
        config.check(gguf.path())?;
        config.raw = config.to_hf_json();
        Ok(config)
    }
}

fn architecture(gguf: &Gguf) -> Result<Architecture, FormatError> {
    let key = "general.architecture";
    match gguf.string(key)? {
        Some("llama") => Ok(Architecture::Llama),
        Some("qwen2") => Ok(Architecture::Qwen2),
        Some(other) => Err(FormatError::unsupported(
            gguf.path(),
            key,
            other,
            "GGUF files of the architectures llama and qwen2 are read; use the model's Hugging \
             Face directory for others",
        )),
        None => Err(FormatError::key(gguf.path(), key, "it is missing")),
    }
}

fn refuse_experts(m: &Metadata<'_>) -> Result<(), FormatError> {
    match m.size("expert_count")? {
        None | Some(0) => Ok(()),
        Some(n) => {
            let key = m.key("expert_count");
            Err(FormatError::unsupported(
                m.path(),
                &key,
                n,
                "mixtures of experts are not",
            ))
        }
    }
}

/// Rows of the embedding: what the weights say, not the metadata, which may count the tokens only.
fn vocab_size(gguf: &Gguf) -> Result<usize, FormatError> {
    let name = "token_embd.weight";
    match gguf.tensor(name).map(|t| t.shape.as_slice()) {
        Some([rows, _]) => Ok(*rows),
        Some(shape) => {
            let reason = format!("its shape is {shape:?}, not that of a matrix");
            Err(FormatError::tensor(gguf.path(), name, reason))
        }
        None => Err(FormatError::MissingTensor {
            path: gguf.path().to_owned(),
            tensor: name.to_owned(),
        }),
    }
}

fn rope(m: &Metadata<'_>, head_dim: usize) -> Result<Rope, FormatError> {
    let theta = m.gguf.float(&m.key("rope.freq_base"))?.unwrap_or(10000.0);
    let dims = m.size("rope.dimension_count")?.unwrap_or(head_dim);
    if dims != head_dim {
        let key = m.key("rope.dimension_count");
        let reason = format!("this architecture rotates whole heads of {head_dim}");
        return Err(FormatError::unsupported(m.path(), &key, dims, reason));
    }
    let key = m.key("rope.scaling.type");
    let scaling = match m.gguf.string(&key)? {
        None | Some("none") => RopeScaling::None,
        Some("linear") => {
            let key = m.key("rope.scaling.factor");
            let missing = || FormatError::key(m.path(), &key, "it is missing");
            RopeScaling::Linear {
                factor: m.gguf.float(&key)?.ok_or_else(missing)?,
            }
        }
        Some(other) => {
            let reason = "the scalings none, linear and llama3 are";
            return Err(FormatError::unsupported(m.path(), &key, other, reason));
        }
    };
    let plain = Rope {
        theta,
        dims,
        scaling,
    };
    match m.gguf.tensor("rope_freqs.weight") {
        None => Ok(plain),
        Some(factors) => with_factors(m.gguf, factors, plain),
    }
}

/// Recognises the divisors in `rope_freqs.weight` as Llama 3's.
fn with_factors(gguf: &Gguf, tensor: &GgufTensor, plain: Rope) -> Result<Rope, FormatError> {
    let fail = |reason: &str| FormatError::tensor(gguf.path(), &tensor.name, reason);
    if tensor.shape != [plain.dims / 2] || plain.scaling != RopeScaling::None {
        return Err(fail("it does not hold one divisor for each pair of a head"));
    }
    let HostData::F32(divisors) = gguf.read(tensor)?.data else {
        return Err(fail("its elements are not F32"));
    };
    let factor = divisors.iter().copied().fold(1.0_f32, f32::max);
    let scaling = RopeScaling::Llama3 {
        factor: f64::from(factor),
        low_freq_factor: LLAMA3_LOW,
        high_freq_factor: LLAMA3_HIGH,
        original_max_positions: LLAMA3_ORIGINAL,
    };
    let base = plain.inverse_frequencies();
    let scaled = Rope { scaling, ..plain };
    let same = base
        .iter()
        .zip(scaled.inverse_frequencies())
        .zip(&divisors)
        .all(|((b, s), &d)| {
            let d = f64::from(d);
            d > 0.0 && (b / s - d).abs() <= 1e-4 * d
        });
    if same {
        Ok(scaled)
    } else {
        Err(fail("its divisors are not those of Llama 3's scaling"))
    }
}
