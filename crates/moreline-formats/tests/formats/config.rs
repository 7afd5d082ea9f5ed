use std::path::Path;

use moreline_formats::ModelConfig;
use moreline_formats::model_config::{Activation, Architecture, FloatDtype, RopeScaling};
use serde_json::{Map, Value, json};

use crate::golden;

const MODELS: [&str; 7] = [
    "llama-gqa-tied",
    "llama-mha-untied",
    "llama3-rope-scaled",
    "mistral",
    "neox-sequential",
    "pythia-parallel",
    "qwen2-bias",
];

fn published(name: &str) -> ModelConfig {
    ModelConfig::from_hf_file(&golden(&format!("configs/{name}.json"))).unwrap()
}

fn parse(value: &Value) -> Result<ModelConfig, String> {
    let map = value.as_object().unwrap().clone();
    ModelConfig::from_hf_json(map, Path::new("config.json")).map_err(|e| e.to_string())
}

fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 100, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 2048,
        "bos_token_id": 1, "eos_token_id": [2, 3]
    })
}

/// `llama()` with some keys replaced.
fn llama_with(changes: Value) -> Value {
    let mut map = llama();
    map.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    map
}

#[test]
fn published_configurations_are_understood() {
    let c = published("llama-gqa-tied");
    assert_eq!(
        (c.architecture, c.heads, c.kv_heads, c.head_dim),
        (Architecture::Llama, 4, 2, 16)
    );
    assert_eq!((c.tied, c.rope.theta, c.norm_eps), (true, 100_000.0, 1e-6));
    assert_eq!(
        (c.bos_id, c.eos_id(), c.pad_id),
        (Some(1), Some(2), Some(0))
    );
    assert_eq!(c.dtype, Some(FloatDtype::F32));

    let c = published("llama3-rope-scaled");
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 64,
    };
    assert_eq!((c.rope.scaling, c.kv_heads, c.tied), (llama3, 1, false));

    let c = published("qwen2-bias");
    assert!(c.qkv_bias && !c.attention_output_bias && !c.mlp_bias);

    let c = published("pythia-parallel");
    assert_eq!(
        (c.architecture, c.rope.dims, c.kv_heads),
        (Architecture::GptNeox, 4, 4)
    );
    assert!(c.parallel_residual && c.qkv_bias && c.attention_output_bias && c.mlp_bias);
    assert_eq!((c.activation, c.norm_eps), (Activation::Gelu, 1e-5));

    let c = published("neox-sequential");
    assert_eq!((c.rope.dims, c.parallel_residual), (16, false));
    assert_eq!(c.activation, Activation::GeluTanh);
}

#[test]
fn the_older_spelling_means_the_same() {
    let c = parse(&llama_with(json!({
        "rope_theta": 500000.0, "torch_dtype": "bfloat16",
        "rope_scaling": { "type": "linear", "factor": 2.0 }
    })))
    .unwrap();
    assert_eq!(
        (c.rope.theta, c.rope.scaling),
        (500_000.0, RopeScaling::Linear { factor: 2.0 })
    );
    assert_eq!(
        (c.dtype, c.kv_heads, c.eos_ids),
        (Some(FloatDtype::Bf16), 4, vec![2, 3])
    );

    let neox = json!({
        "model_type": "gpt_neox", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 256,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 2048,
        "rotary_pct": 0.5, "rotary_emb_base": 20000
    });
    let c = parse(&neox).unwrap();
    assert_eq!((c.rope.dims, c.rope.theta), (8, 20000.0));
    assert!(c.parallel_residual);
}

/// Whatever is exported describes the same model, in either spelling.
#[test]
fn exported_configurations_read_back_the_same() {
    let gguf = ModelConfig::load(&golden("tiny.gguf")).unwrap();
    for config in MODELS.map(published).into_iter().chain([gguf]) {
        let exported = config.to_hf_json();
        let mut old = exported.clone();
        old.remove("rope_parameters");
        old.remove("dtype");
        let mut new = exported;
        for key in [
            "rope_theta",
            "rope_scaling",
            "rotary_pct",
            "rotary_emb_base",
            "torch_dtype",
        ] {
            new.remove(key);
        }
        for spelling in [old, new] {
            let mut back = parse(&Value::Object(spelling)).unwrap();
            back.raw = config.raw.clone();
            assert_eq!(back, config);
        }
    }
}

#[test]
fn a_reward_model_is_exported_as_a_classifier() {
    let config = published("pythia-parallel");
    assert!(!config.is_reward_model());
    let extra: Map<String, Value> = [("pad_token_id".to_owned(), json!(5))]
        .into_iter()
        .collect();
    let exported = config.to_hf_classifier_json(extra);
    assert_eq!(
        exported["architectures"],
        json!(["GPTNeoXForSequenceClassification"])
    );
    assert_eq!(
        (&exported["num_labels"], &exported["pad_token_id"]),
        (&json!(1), &json!(5))
    );
    let back = parse(&Value::Object(exported)).unwrap();
    assert!(back.is_reward_model());
    let language_model = back.to_hf_json();
    assert_eq!(
        language_model["architectures"],
        json!(["GPTNeoXForCausalLM"])
    );
    assert!(!language_model.contains_key("id2label") && !language_model.contains_key("num_labels"));
}

#[test]
fn what_would_be_computed_differently_is_refused_by_its_key() {
    let cases = [
        (json!({ "model_type": "mamba" }), "model_type"),
        (json!({ "model_type": null }), "model_type"),
        (json!({ "attention_dropout": 0.1 }), "attention_dropout"),
        (
            json!({ "rope_scaling": { "type": "yarn", "factor": 2.0 } }),
            "rope_scaling.type",
        ),
        (
            json!({ "rope_parameters": { "rope_type": "dynamic" } }),
            "rope_parameters.rope_type",
        ),
        (json!({ "hidden_act": "relu" }), "hidden_act"),
        (json!({ "hidden_act": "gelu" }), "hidden_act"),
        (json!({ "quantization_config": {} }), "quantization_config"),
        (
            json!({ "partial_rotary_factor": 0.5 }),
            "partial_rotary_factor",
        ),
        (
            json!({ "model_type": "mistral", "num_key_value_heads": 4, "sliding_window": 1024 }),
            "sliding_window",
        ),
        (
            json!({ "model_type": "mistral", "num_key_value_heads": 4, "max_position_embeddings": 8192 }),
            "sliding_window",
        ),
        (
            json!({ "model_type": "qwen2", "num_key_value_heads": 4, "use_sliding_window": true, "sliding_window": 64 }),
            "sliding_window",
        ),
    ];
    for (change, key) in cases {
        let text = parse(&llama_with(change)).unwrap_err();
        assert!(text.contains(&format!("`{key}`")), "{key}: {text}");
    }
}

#[test]
fn values_out_of_range_are_refused_by_their_key() {
    let cases = [
        (json!({ "vocab_size": 0 }), "vocab_size"),
        (json!({ "vocab_size": null }), "vocab_size"),
        (json!({ "hidden_size": "32" }), "hidden_size"),
        (json!({ "hidden_size": u64::MAX }), "hidden_size"),
        (json!({ "num_attention_heads": 0 }), "num_attention_heads"),
        (json!({ "num_attention_heads": 5 }), "num_attention_heads"),
        (json!({ "num_key_value_heads": 3 }), "num_key_value_heads"),
        (
            json!({ "rms_norm_eps": -1.0 }),
            "rms_norm_eps or layer_norm_eps",
        ),
        (json!({ "rope_theta": 0.0 }), "rope_theta"),
        (json!({ "head_dim": 7 }), "head_dim"),
        (json!({ "num_hidden_layers": 5000 }), "num_hidden_layers"),
        (json!({ "eos_token_id": 100 }), "eos_token_id"),
        (
            json!({ "rope_scaling": { "rope_type": "linear" } }),
            "rope_scaling.factor",
        ),
    ];
    for (change, key) in cases {
        let text = parse(&llama_with(change)).unwrap_err();
        assert!(text.contains(&format!("`{key}`")), "{key}: {text}");
    }
}

#[test]
fn a_sliding_window_that_never_applies_is_allowed() {
    let wide = json!({ "model_type": "mistral", "num_key_value_heads": 4, "sliding_window": 4096 });
    parse(&llama_with(wide)).unwrap();
    let unused = json!({
        "model_type": "qwen2", "num_key_value_heads": 4, "use_sliding_window": false,
        "sliding_window": 64
    });
    parse(&llama_with(unused)).unwrap();
}

#[test]
fn a_directory_without_a_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = ModelConfig::load(dir.path()).unwrap_err().to_string();
    assert!(text.contains("no config.json"), "{text}");
}
