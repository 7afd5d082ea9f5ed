use std::path::PathBuf;

use moreline_formats::model_config::Architecture;
use moreline_formats::{Dtype, ModelConfig, WeightStore};

fn demo_model() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(
        path.is_file(),
        "{} is missing: run `make setup` first",
        path.display()
    );
    path
}

#[test]
fn the_demo_model_is_described() {
    let c = ModelConfig::load(&demo_model()).unwrap();
    assert_eq!(
        (c.architecture, c.layers, c.hidden_size),
        (Architecture::Llama, 30, 576)
    );
    assert_eq!(
        (c.heads, c.kv_heads, c.head_dim, c.intermediate_size),
        (9, 3, 64, 1536)
    );
    assert_eq!(
        (c.vocab_size, c.max_positions, c.norm_eps),
        (49152, 8192, 1e-5)
    );
    assert_eq!((c.rope.theta, c.rope.dims, c.tied), (100_000.0, 64, true));
    assert_eq!(
        (c.bos_id, c.eos_id(), c.pad_id),
        (Some(1), Some(2), Some(2))
    );
}

#[test]
fn the_demo_model_has_every_tensor_of_its_configuration() {
    let path = demo_model();
    let (config, store) = (
        ModelConfig::load(&path).unwrap(),
        WeightStore::open(&path).unwrap(),
    );
    assert_eq!(store.names().count(), 2 + 9 * config.layers);
    let shapes = [
        ("model.embed_tokens.weight", vec![49152, 576]),
        ("model.layers.29.self_attn.k_proj.weight", vec![192, 576]),
        ("model.layers.29.mlp.down_proj.weight", vec![576, 1536]),
    ];
    for (name, shape) in shapes {
        let tensor = store.read_shaped(name, &shape).unwrap();
        assert_eq!(tensor.data.dtype(), Dtype::F32);
        assert!(
            tensor
                .data
                .into_f32()
                .iter()
                .all(|v| v.is_finite() && v.abs() < 100.0),
            "{name}"
        );
    }
}
