//! Scores of an opened reward model.

use std::fs;
use std::path::PathBuf;

use moreline_formats::safetensors::write_file;
use moreline_formats::{HostData, HostTensor, ModelConfig, WeightStore};
use moreline_protocol::spec::{Pooling, Precision};
use moreline_worker::batch::Group;
use moreline_worker::score::RewardModel;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tch::{Tensor, no_grad};
use tempfile::TempDir;

use super::TOLERANCE;
use super::forest::{budget, cases, groups, model};
use super::reference::{Reference, assert_close};
use crate::common::{device, golden_dir};
use crate::tiny::{byte_tokenizer, write_json};

/// A small model as an exported reward model that reads the token before EOS.
fn reward_model(name: &str, head: &[f32], pooling: Pooling) -> (TempDir, PathBuf) {
    let from = golden_dir().join("models").join(name);
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("model");
    fs::create_dir(&to).unwrap();
    let config = ModelConfig::load(&from).unwrap();
    let text = json!({
        "pooling": pooling, "template": "raw", "max_length": 128, "truncation": "left",
    });
    let extra: Map<String, Value> = [("moreline".to_owned(), text)].into_iter().collect();
    let config = Value::Object(config.to_hf_classifier_json(extra));
    write_json(&to.join("config.json"), &config);
    write_json(&to.join("tokenizer.json"), &byte_tokenizer());
    let specials = json!({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"});
    write_json(&to.join("tokenizer_config.json"), &specials);
    let store = WeightStore::open(&from).unwrap();
    let read = |name: &str| (name.to_owned(), store.read(name).unwrap());
    let mut tensors: Vec<_> = store.names().map(|info| read(&info.name)).collect();
    let score = HostTensor {
        shape: vec![1, head.len()],
        data: HostData::F32(head.to_vec()),
    };
    tensors.push(("score.weight".into(), score));
    write_file(&to.join("model.safetensors"), &tensors).unwrap();
    (dir, to)
}

fn check(name: &str, groups: &[Vec<Vec<u32>>], budget: usize, pooling: Pooling) {
    tch::set_num_threads(1);
    let head: Vec<f32> = (0..64)
        .map(|i| ((i * 29 + 7) % 64) as f32 / 64.0 - 0.5)
        .collect();
    let (_dir, path) = reward_model(name, &head, pooling);
    let model = RewardModel::open(&path, Precision::Fp32, device(), budget).unwrap();
    let trees: Vec<Group> = groups.iter().map(|group| Group::share(group)).collect();
    let mut found = Vec::new();
    for run in model.runs(&trees) {
        found.extend(model.rewards(&trees[run]).unwrap());
    }
    assert!(found.iter().map(Vec::len).eq(groups.iter().map(Vec::len)));
    let reference = Reference::open(&path);
    let score = reference.parameter("score.weight").view([-1]);
    let reward = |sequence: &Vec<u32>| {
        let hidden = reference.states(sequence).hidden;
        let length = hidden.size()[0];
        let pooled = match pooling {
            Pooling::Mean => hidden.mean_dim([0i64].as_slice(), false, None),
            Pooling::Max => hidden.amax([0i64].as_slice(), false),
            Pooling::Eos => hidden.get(length - 1),
            Pooling::Last => hidden.get((length - 2).max(0)),
        };
        pooled.dot(&score)
    };
    let expected: Vec<Tensor> = no_grad(|| groups.iter().flatten().map(reward).collect());
    let found = Tensor::from_slice(&found.concat());
    assert_close(&found, &Tensor::stack(&expected, 0), TOLERANCE, "scores");
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn scores_equal_one_sequence_at_a_time(
        name in model(),
        groups in groups(),
        budget in budget(),
        pooling in prop::sample::select(
            &[Pooling::Last, Pooling::Eos, Pooling::Mean, Pooling::Max][..]
        ),
    ) {
        check(name, &groups, budget, pooling);
    }
}
