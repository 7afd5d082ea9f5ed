//! Writing a configuration back as `config.json`.

use serde_json::{Map, Value, json};

use super::{Activation, Architecture, ModelConfig, Rope, RopeScaling};

/// Keys of a source that would be wrong in what we write.
const DROPPED: [&str; 6] = [
    "_name_or_path",
    "auto_map",
    "transformers_version",
    "quantization_config",
    "model_file",
    "id2label",
];

impl ModelConfig {
    /// The `config.json` of the language model (`...ForCausalLM`), in both the spelling that
    /// transformers 5 reads and the one before it; keys of the source that we do not know are kept.
    pub fn to_hf_json(&self) -> Map<String, Value> {
        let mut out = self.raw.clone();
        for key in DROPPED
            .iter()
            .chain(&["label2id", "num_labels", "problem_type"])
        {
            out.remove(*key);
        }
        out.extend(object(json!({
            "architectures": [format!("{}ForCausalLM", self.architecture.class_stem())],
            "model_type": self.architecture.model_type(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": self.tied,
            "bos_token_id": self.bos_id,
            "eos_token_id": self.eos_json(),
            "pad_token_id": self.pad_id,
            "rope_parameters": self.rope_parameters(),
        })));
        out.extend(self.architecture_keys());
        if let Some(dtype) = self.dtype {
            out.insert("dtype".into(), dtype.name().into());
            out.insert("torch_dtype".into(), dtype.name().into());
        }
        out
    }

    /// The `config.json` of a reward model (`...ForSequenceClassification`, one label), with
    /// `extra` keys laid over it.
    pub fn to_hf_classifier_json(&self, extra: Map<String, Value>) -> Map<String, Value> {
        let mut out = self.to_hf_json();
        let class = format!(
            "{}ForSequenceClassification",
            self.architecture.class_stem()
        );
        out.extend(object(json!({
            "architectures": [class],
            "num_labels": 1,
            "id2label": { "0": "LABEL_0" },
            "label2id": { "LABEL_0": 0 },
        })));
        out.extend(extra);
        out
    }

    fn eos_json(&self) -> Value {
        match self.eos_ids.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        }
    }

    fn architecture_keys(&self) -> Map<String, Value> {
        let act = match (self.activation, self.raw.get("hidden_act")) {
            (_, Some(as_read)) => as_read.clone(),
            (Activation::Silu, None) => json!("silu"),
            (Activation::Gelu, None) => json!("gelu"),
            (Activation::GeluTanh, None) => json!("gelu_new"),
        };
        if self.architecture == Architecture::GptNeox {
            return object(json!({
                "hidden_act": act,
                "layer_norm_eps": self.norm_eps,
                "attention_bias": self.qkv_bias,
                "use_parallel_residual": self.parallel_residual,
                "rotary_pct": self.rotary_fraction(),
                "rotary_emb_base": self.rope.theta,
                "rope_scaling": scaling(&self.rope),
            }));
        }
        let mut keys = object(json!({
            "hidden_act": act,
            "rms_norm_eps": self.norm_eps,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "rope_theta": self.rope.theta,
            "rope_scaling": scaling(&self.rope),
        }));
        match self.architecture {
            Architecture::Llama => {
                keys.insert("attention_bias".into(), self.qkv_bias.into());
                keys.insert("mlp_bias".into(), self.mlp_bias.into());
            }
            // Left out it would mean a window of 4096.
            Architecture::Mistral => {
                keys.insert("sliding_window".into(), Value::Null);
            }
            Architecture::Qwen2 => {
                keys.insert("use_sliding_window".into(), false.into());
            }
            Architecture::GptNeox => {}
        }
        keys
    }

    fn rotary_fraction(&self) -> f64 {
        self.rope.dims as f64 / self.head_dim as f64
    }

    /// Rope as transformers 5 spells it.
    fn rope_parameters(&self) -> Value {
        let mut keys = match scaling(&self.rope) {
            Value::Object(keys) => keys,
            _ => object(json!({ "rope_type": "default" })),
        };
        keys.insert("rope_theta".into(), json!(self.rope.theta));
        if self.architecture == Architecture::GptNeox {
            keys.insert(
                "partial_rotary_factor".into(),
                json!(self.rotary_fraction()),
            );
        }
        Value::Object(keys)
    }
}

/// `rope_scaling` as transformers 4 spells it: null without scaling.
fn scaling(rope: &Rope) -> Value {
    match rope.scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_positions,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_positions,
        }),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
