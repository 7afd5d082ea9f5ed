//! A configuration from Hugging Face's `config.json`, in the spelling of transformers 5
//! (`rope_parameters`, `dtype`) and the one before it (`rope_theta`, `rope_scaling`,
//! `torch_dtype`). Defaults for absent keys are those of the transformers classes.

use std::path::Path;

use serde_json::{Map, Value};

use super::keys::Keys;
use super::{Activation, Architecture, FloatDtype, ModelConfig, Rope, RopeScaling};
use crate::error::FormatError;

/// Mistral's `sliding_window` where the key is absent.
const MISTRAL_WINDOW: usize = 4096;

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// As [`ModelConfig::load`].
    pub fn from_hf_file(path: &Path) -> Result<Self, FormatError> {
        if !path.is_file() {
            let dir = path.parent().unwrap_or(path).to_owned();
            return Err(FormatError::NotAModel {
                path: dir,
                reason: "it has no config.json".into(),
            });
        }
        let text = std::fs::read(path).map_err(|e| FormatError::io("read", path, e))?;
        let raw: Map<String, Value> = serde_json::from_slice(&text)
            .map_err(|e| FormatError::malformed(path, format!("it is not a JSON object: {e}")))?;
        Self::from_hf_json(raw, path)
    }

    /// Reads a `config.json` already parsed; `path` is what errors name.
    ///
    /// # Errors
    /// As [`ModelConfig::load`].
    pub fn from_hf_json(raw: Map<String, Value>, path: &Path) -> Result<Self, FormatError> {
        let k = Keys::new(&raw, path);
        let architecture = architecture(&k)?;
        refuse(&k, architecture)?;
        let mut config = match architecture {
            Architecture::GptNeox => gpt_neox(&k)?,
            _ => llama_family(&k, architecture)?,
        };
        config.check(path)?;
        config.raw = raw;
        Ok(config)
    }
}

fn architecture(k: &Keys<'_>) -> Result<Architecture, FormatError> {
    match k.string("model_type")? {
        Some("llama") => Ok(Architecture::Llama),
        Some("mistral") => Ok(Architecture::Mistral),
        Some("qwen2") => Ok(Architecture::Qwen2),
        Some("gpt_neox") => Ok(Architecture::GptNeox),
        Some(_) => Err(k.unsupported("model_type", "llama, mistral, qwen2 and gpt_neox are")),
        None => Err(k.error("model_type", "it is missing")),
    }
}

/// Refuses what would be computed differently from the published implementation.
fn refuse(k: &Keys<'_>, architecture: Architecture) -> Result<(), FormatError> {
    if k.present("quantization_config") {
        return Err(k.unsupported(
            "quantization_config",
            "use the unquantised model or a GGUF file",
        ));
    }
    for key in ["attention_dropout", "hidden_dropout"] {
        if k.float(key)?.is_some_and(|p| p != 0.0) {
            return Err(k.unsupported(key, "models are trained without dropout; set it to 0"));
        }
    }
    refuse_window(k, architecture)
}

fn refuse_window(k: &Keys<'_>, architecture: Architecture) -> Result<(), FormatError> {
    let window = match architecture {
        Architecture::Mistral if k.absent("sliding_window") => Some(MISTRAL_WINDOW),
        Architecture::Mistral => k.size("sliding_window")?,
        Architecture::Qwen2 if k.flag("use_sliding_window")? == Some(true) => {
            k.size("sliding_window")?.or(Some(MISTRAL_WINDOW))
        }
        _ => None,
    };
    let context = k.size("max_position_embeddings")?.unwrap_or(usize::MAX);
    if window.is_some_and(|w| w < context) {
        let reason = format!(
            "a window shorter than `max_position_embeddings` is (without the key it is \
             {MISTRAL_WINDOW}); lower the latter to the window to use the model within it"
        );
        return Err(k.unsupported("sliding_window", reason));
    }
    Ok(())
}

fn llama_family(k: &Keys<'_>, architecture: Architecture) -> Result<ModelConfig, FormatError> {
    let heads = k.required("num_attention_heads")?;
    let hidden_size = k.required("hidden_size")?;
    let head_dim = match k.size("head_dim")? {
        Some(size) => size,
        None => divide(k, hidden_size, heads)?,
    };
    let is_llama = architecture == Architecture::Llama;
    let kv_heads = match k.size("num_key_value_heads")? {
        Some(n) => n,
        None if is_llama => heads,
        None => return Err(k.error("num_key_value_heads", "it is missing")),
    };
    let llama_flag = |key| Ok::<_, FormatError>(is_llama && k.flag(key)?.unwrap_or(false));
    let attention_bias = llama_flag("attention_bias")?;
    let common = common(k, architecture)?;
    Ok(ModelConfig {
        heads,
        hidden_size,
        head_dim,
        kv_heads,
        norm_eps: k.float("rms_norm_eps")?.unwrap_or(1e-6),
        rope: rope(k, head_dim, 1.0)?,
        qkv_bias: attention_bias || architecture == Architecture::Qwen2,
        attention_output_bias: attention_bias,
        mlp_bias: llama_flag("mlp_bias")?,
        activation: activation(k, "silu")?,
        parallel_residual: false,
        ..common
    })
}

fn gpt_neox(k: &Keys<'_>) -> Result<ModelConfig, FormatError> {
    let heads = k.required("num_attention_heads")?;
    let hidden_size = k.required("hidden_size")?;
    let head_dim = divide(k, hidden_size, heads)?;
    let attention_bias = k.flag("attention_bias")?.unwrap_or(true);
    let common = common(k, Architecture::GptNeox)?;
    Ok(ModelConfig {
        heads,
        hidden_size,
        head_dim,
        kv_heads: heads,
        norm_eps: k.float("layer_norm_eps")?.unwrap_or(1e-5),
        rope: rope(k, head_dim, 0.25)?,
        qkv_bias: attention_bias,
        attention_output_bias: attention_bias,
        mlp_bias: true,
        activation: activation(k, "gelu")?,
        parallel_residual: k.flag("use_parallel_residual")?.unwrap_or(true),
        ..common
    })
}

/// The keys that mean the same everywhere; the rest is filled in by the callers.
fn common(k: &Keys<'_>, architecture: Architecture) -> Result<ModelConfig, FormatError> {
    Ok(ModelConfig {
        architecture,
        vocab_size: k.required("vocab_size")?,
        hidden_size: 0,
        intermediate_size: k.required("intermediate_size")?,
        layers: k.required("num_hidden_layers")?,
        heads: 0,
        kv_heads: 0,
        head_dim: 0,
        norm_eps: 0.0,
        rope: Rope {
            theta: 0.0,
            dims: 0,
            scaling: RopeScaling::None,
        },
        tied: k.flag("tie_word_embeddings")?.unwrap_or(false),
        max_positions: k.required("max_position_embeddings")?,
        bos_id: k.tokens("bos_token_id")?.first().copied(),
        eos_ids: k.tokens("eos_token_id")?,
        pad_id: k.tokens("pad_token_id")?.first().copied(),
        qkv_bias: false,
        attention_output_bias: false,
        mlp_bias: false,
        activation: Activation::Silu,
        parallel_residual: false,
        dtype: dtype(k)?,
        raw: Map::new(),
    })
}

fn divide(k: &Keys<'_>, hidden_size: usize, heads: usize) -> Result<usize, FormatError> {
    if heads == 0 || !hidden_size.is_multiple_of(heads) {
        let reason = format!("{heads} heads do not divide `hidden_size` = {hidden_size}");
        return Err(k.error("num_attention_heads", reason));
    }
    Ok(hidden_size / heads)
}

fn activation(k: &Keys<'_>, default: &str) -> Result<Activation, FormatError> {
    match k.string("hidden_act")?.unwrap_or(default) {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        _ => Err(k.unsupported("hidden_act", "silu, gelu and gelu_new are")),
    }
}

fn dtype(k: &Keys<'_>) -> Result<Option<FloatDtype>, FormatError> {
    let name = match k.string("dtype")? {
        Some(name) => Some(name),
        None => k.string("torch_dtype")?,
    };
    Ok(match name.map(|n| n.trim_start_matches("torch.")) {
        Some("float32") => Some(FloatDtype::F32),
        Some("bfloat16") => Some(FloatDtype::Bf16),
        Some("float16") => Some(FloatDtype::F16),
        _ => None,
    })
}

/// Rope from `rope_parameters`, or from `rope_scaling` and the keys beside it. `fraction` is the
/// architecture's default share of a head that is rotated.
fn rope(k: &Keys<'_>, head_dim: usize, fraction: f64) -> Result<Rope, FormatError> {
    let name = if k.present("rope_parameters") {
        "rope_parameters"
    } else {
        "rope_scaling"
    };
    let empty = Map::new();
    let inner = Keys::nested(k, name, &empty)?;
    let neox = fraction != 1.0;
    let theta = match inner.float("rope_theta")? {
        Some(theta) => theta,
        None => k
            .float(if neox {
                "rotary_emb_base"
            } else {
                "rope_theta"
            })?
            .unwrap_or(10000.0),
    };
    let mut share = inner.float("partial_rotary_factor")?;
    if share.is_none() {
        share = k.float(if neox {
            "rotary_pct"
        } else {
            "partial_rotary_factor"
        })?;
    }
    let share = share.unwrap_or(fraction);
    if !neox && share != 1.0 {
        return Err(k.unsupported(
            "partial_rotary_factor",
            "this architecture rotates whole heads",
        ));
    }
    // transformers truncates, too.
    let dims = (head_dim as f64 * share) as usize;
    Ok(Rope {
        theta,
        dims,
        scaling: scaling(&inner)?,
    })
}

fn scaling(inner: &Keys<'_>) -> Result<RopeScaling, FormatError> {
    let key = if inner.present("rope_type") {
        "rope_type"
    } else {
        "type"
    };
    match inner.string(key)? {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear {
            factor: inner.required_float("factor")?,
        }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: inner.required_float("factor")?,
            low_freq_factor: inner.required_float("low_freq_factor")?,
            high_freq_factor: inner.required_float("high_freq_factor")?,
            original_max_positions: inner.required("original_max_position_embeddings")?,
        }),
        Some(_) => Err(inner.unsupported(key, "default, linear and llama3 are")),
    }
}
