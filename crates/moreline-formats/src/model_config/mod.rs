//! One description of a decoder for every source: Hugging Face's `config.json` or GGUF metadata.

mod check;
mod export;
mod from_gguf;
mod from_hf;
mod keys;
mod rope;

use std::path::Path;

use serde_json::{Map, Value};

pub use rope::{Rope, RopeScaling};

use crate::FormatError;
use crate::gguf::Gguf;

/// The architectures moreline knows; the first three share one topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama 1-3, SmolLM2 and others of `model_type` `llama`.
    Llama,
    /// Mistral without a sliding window in use.
    Mistral,
    /// Qwen2 and 2.5: biases on query, key and value only.
    Qwen2,
    /// GPT-NeoX: Pythia.
    GptNeox,
}

impl Architecture {
    /// `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::GptNeox => "gpt_neox",
        }
    }

    /// The stem of the transformers classes, such as `Llama` in `LlamaForCausalLM`.
    pub fn class_stem(self) -> &'static str {
        match self {
            Self::Llama => "Llama",
            Self::Mistral => "Mistral",
            Self::Qwen2 => "Qwen2",
            Self::GptNeox => "GPTNeoX",
        }
    }

    /// Whether the topology is LLaMA's (RMSNorm, gated MLP, rotary over the whole head).
    pub fn is_llama_family(self) -> bool {
        self != Self::GptNeox
    }
}

/// The non-linearity of the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x * sigmoid(x)`, of the gated MLP.
    Silu,
    /// GELU by the error function.
    Gelu,
    /// GELU by the tanh approximation (`gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`).
    GeluTanh,
}

/// What a `config.json` says about the element type of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FloatDtype {
    /// `float32`.
    F32,
    /// `bfloat16`.
    Bf16,
    /// `float16`.
    F16,
}

impl FloatDtype {
    /// The name transformers uses, such as `bfloat16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }
}

/// A decoder, completely described. Every field has been checked: sizes are positive, heads divide,
/// token ids lie inside the vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which topology and which class names.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; `heads * head_dim` may differ from `hidden_size`.
    pub head_dim: usize,
    /// Added to the mean square (RMSNorm) or the variance (LayerNorm).
    pub norm_eps: f64,
    /// Rotary positions.
    pub rope: Rope,
    /// Whether the LM head is the embedding.
    pub tied: bool,
    /// The longest sequence the model was made for.
    pub max_positions: usize,
    /// Beginning-of-sequence id.
    pub bos_id: Option<u32>,
    /// End-of-sequence ids; the first one is *the* EOS, generation stops at any.
    pub eos_ids: Vec<u32>,
    /// Padding id.
    pub pad_id: Option<u32>,
    /// Bias on the query, key and value projections.
    pub qkv_bias: bool,
    /// Bias on the attention's output projection.
    pub attention_output_bias: bool,
    /// Bias on the MLP's projections.
    pub mlp_bias: bool,
    /// The MLP's non-linearity.
    pub activation: Activation,
    /// GPT-NeoX: attention and MLP read the same residual. Always false in the LLaMA family.
    pub parallel_residual: bool,
    /// What the source says the weights are stored as.
    pub dtype: Option<FloatDtype>,
    /// The source's `config.json` as read; for GGUF the equivalent one.
    pub raw: Map<String, Value>,
}

impl ModelConfig {
    /// Reads the configuration of a model: a Hugging Face directory, a `.safetensors` file with
    /// its `config.json` beside it, or a `.gguf` file.
    ///
    /// # Errors
    /// Missing or malformed files, keys out of range, and anything this program would compute
    /// differently from the published implementation (named by its key).
    pub fn load(path: &Path) -> Result<Self, FormatError> {
        if crate::weights::is_gguf(path) {
            return Self::from_gguf(&Gguf::open(path)?);
        }
        if path.is_dir() {
            return Self::from_hf_file(&path.join("config.json"));
        }
        if path.extension().is_some_and(|e| e == "safetensors") && path.is_file() {
            return Self::from_hf_file(&path.with_file_name("config.json"));
        }
        Err(FormatError::NotAModel {
            path: path.to_owned(),
            reason: "it is neither a directory with config.json nor a .gguf file".into(),
        })
    }

    /// The EOS id that ends a text, if the model has one.
    pub fn eos_id(&self) -> Option<u32> {
        self.eos_ids.first().copied()
    }

    /// Whether the source is a `...ForSequenceClassification` model with one label: a reward model.
    pub fn is_reward_model(&self) -> bool {
        let class = self
            .raw
            .get("architectures")
            .and_then(|a| a.get(0))
            .and_then(Value::as_str);
        class.is_some_and(|c| c.ends_with("ForSequenceClassification"))
    }
}
