//! What a worker says about input it cannot work with.

use std::fs;
use std::path::{Path, PathBuf};

use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::job::Job;
use moreline_protocol::spec::StageSpec;
use serde_json::{Map, Value, json};

use crate::tiny::{
    Bench, answered_prompts, byte_tokenizer, clear_pairs, failure, input, preferences,
    reward_model, run, write_json,
};

/// Rewrites the header of a safetensors file and, through it, its data.
fn edit_weights(model: &Path, edit: impl FnOnce(&mut Map<String, Value>, &mut Vec<u8>)) {
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut data = bytes[8 + length..].to_vec();
    edit(&mut header, &mut data);
    let header = serde_json::to_vec(&header).unwrap();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    out.extend(data);
    fs::write(&path, out).unwrap();
}

/// The first bytes of a tensor become an fp32 NaN.
fn poison(model: &Path, tensor: &str) {
    edit_weights(model, |header, data| {
        let at = header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
        data[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
}

fn generate_job(bench: &Bench, prompts: &[Value]) -> Job {
    let path = bench.rows("prompts.jsonl", prompts);
    let spec = json!({
        "kind": "generate", "model": "base", "prompts": "p", "max_new_tokens": 8,
    });
    let prompts = input("prompts", "p", ArtifactType::Prompts, &path);
    bench.job("generate", spec, vec![bench.base(), prompts])
}

fn train_job(bench: &Bench, name: &str, rows: &[Value], max_length: u32) -> Job {
    let path = bench.rows(&format!("{name}.jsonl"), rows);
    let spec = json!({
        "kind": "train-reward", "model": "base", "data": "pairs", "steps": 8, "batch": 4,
        "max_length": max_length,
    });
    bench.job(name, spec, vec![bench.base(), preferences("pairs", &path)])
}

fn score_job(bench: &Bench, model: PathBuf) -> Job {
    let row = json!({
        "id": 0, "prompt": [{"role": "user", "content": "Ask"}], "responses": [{"text": "yes"}],
    });
    let path = bench.rows("responses.jsonl", &[row]);
    let spec = json!({"kind": "score", "model": "rm", "responses": "r"});
    let responses = input("responses", "r", ArtifactType::Responses, &path);
    bench.job("score", spec, vec![reward_model(&model), responses])
}

fn perplexity_job(bench: &Bench, rows: &[Value]) -> Job {
    let path = bench.rows("answers.jsonl", rows);
    let spec = json!({"kind": "perplexity", "model": "base", "data": "answers"});
    let data = input("data", "answers", ArtifactType::Prompts, &path);
    bench.job("perplexity", spec, vec![bench.base(), data])
}

#[test]
fn a_tensor_of_another_shape() {
    let bench = Bench::new();
    edit_weights(&bench.path("model"), |header, _| {
        header["model.norm.weight"]["shape"] = json!([8, 8]);
    });
    let job = generate_job(&bench, &answered_prompts(1));
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn a_truncated_weight_file() {
    let bench = Bench::new();
    let path = bench.path("model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let job = generate_job(&bench, &answered_prompts(1));
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn a_missing_tensor() {
    let bench = Bench::new();
    edit_weights(&bench.path("model"), |header, _| {
        let tensor = header.remove("model.norm.weight").unwrap();
        header.insert("model.norm.weights".into(), tensor);
    });
    let job = generate_job(&bench, &answered_prompts(1));
    insta::assert_snapshot!(failure(&bench, &job));
}

/// Turns the model's only weight file into the first of two shards.
fn shard(bench: &Bench, second: &[&str]) {
    let model = bench.path("model");
    let mut map = Map::new();
    edit_weights(&model, |header, _| {
        let names = header.keys().filter(|name| *name != "__metadata__");
        map = names
            .map(|name| (name.clone(), json!("a.safetensors")))
            .collect();
    });
    for name in second {
        map[*name] = json!("b.safetensors");
    }
    fs::rename(model.join("model.safetensors"), model.join("a.safetensors")).unwrap();
    let index = json!({"metadata": {}, "weight_map": map});
    write_json(&model.join("model.safetensors.index.json"), &index);
}

#[test]
fn a_missing_shard() {
    let bench = Bench::new();
    shard(&bench, &["model.norm.weight"]);
    let job = generate_job(&bench, &answered_prompts(1));
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn a_shard_without_its_tensor() {
    let bench = Bench::new();
    shard(&bench, &["model.norm.weight"]);
    let model = bench.path("model");
    let other = bench.model("other");
    edit_weights(&other, |header, _| {
        let tensor = header.remove("model.norm.weight").unwrap();
        header.insert("model.norm.weights".into(), tensor);
    });
    fs::rename(other.join("model.safetensors"), model.join("b.safetensors")).unwrap();
    let job = generate_job(&bench, &answered_prompts(1));
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn a_tokenizer_larger_than_the_vocabulary() {
    for kind in ["generate", "train"] {
        let bench = Bench::new();
        let mut tokenizer = byte_tokenizer();
        tokenizer["model"]["vocab"]["beyond"] = json!(320);
        write_json(&bench.path("model/tokenizer.json"), &tokenizer);
        let job = match kind {
            "train" => train_job(&bench, "train", &clear_pairs("kind", 4), 64),
            _ => generate_job(&bench, &answered_prompts(1)),
        };
        insta::assert_snapshot!("tokenizer_larger_than_vocabulary", failure(&bench, &job));
    }
}

#[test]
fn an_over_long_prompt() {
    let bench = Bench::new();
    let prompts = [json!({"prompt": "Ask"}), json!({"prompt": "a".repeat(300)})];
    let job = generate_job(&bench, &prompts);
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn an_over_long_prompt_is_refused_before_the_others_are_answered() {
    let bench = Bench::new();
    let mut prompts = answered_prompts(3);
    prompts.push(json!({"prompt": "a".repeat(300)}));
    let mut job = generate_job(&bench, &prompts);
    let StageSpec::Generate(spec) = &mut job.spec else {
        unreachable!()
    };
    spec.samples = 64;
    let said = failure(&bench, &job);
    assert!(said.contains("prompt 3 (from 0): over-long"), "{said}");
    assert!(!job.partial_dir.join("journal.jsonl").exists());
}

#[test]
fn a_language_model_in_place_of_a_reward_model() {
    let bench = Bench::new();
    let job = score_job(&bench, bench.path("model"));
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn prompts_without_answers() {
    let bench = Bench::new();
    let job = perplexity_job(
        &bench,
        &[json!({"prompt": "Ask"}), json!({"prompt": "More"})],
    );
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn texts_longer_than_the_positions() {
    let bench = Bench::new();
    let job = train_job(&bench, "train", &clear_pairs("kind", 4), 257);
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn nothing_but_tied_rows() {
    let bench = Bench::new();
    let row = json!({"prompt": "Ask", "responses": ["yes", "no"], "scores": [1.0, 1.0]});
    let job = train_job(&bench, "train", &[row.clone(), row], 64);
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn nothing_but_identical_responses() {
    let bench = Bench::new();
    let row = json!({"prompt": "Ask", "chosen": "yes", "rejected": "yes"});
    let job = train_job(&bench, "train", &[row.clone(), row], 64);
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn a_row_that_is_no_preference() {
    let bench = Bench::new();
    let rows = [clear_pairs("kind", 1).remove(0), json!({"prompt": "Ask"})];
    let job = train_job(&bench, "train", &rows, 64);
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn a_job_of_another_protocol() {
    let bench = Bench::new();
    let mut job = generate_job(&bench, &answered_prompts(1));
    job.protocol = 999;
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn an_unknown_device() {
    let bench = Bench::new();
    let mut job = generate_job(&bench, &answered_prompts(1));
    job.resources.device = "tpu".into();
    insta::assert_snapshot!(failure(&bench, &job));
}

#[test]
fn language_model_weights_that_are_not_numbers() {
    let bench = Bench::new();
    poison(&bench.path("model"), "model.norm.weight");
    let job = generate_job(&bench, &answered_prompts(1));
    insta::assert_snapshot!("nan_generate", failure(&bench, &job));
    let job = perplexity_job(&bench, &answered_prompts(2));
    insta::assert_snapshot!("nan_perplexity", failure(&bench, &job));
    let job = train_job(&bench, "train", &clear_pairs("kind", 4), 64);
    insta::assert_snapshot!("nan_train_reward", failure(&bench, &job));
}

#[test]
fn fine_tuning_that_diverges_says_so_again_when_resumed() {
    let bench = Bench::new();
    poison(&bench.path("model"), "model.norm.weight");
    let path = bench.rows("answers.jsonl", &answered_prompts(4));
    let spec = json!({
        "kind": "sft", "model": "base", "data": "answers", "steps": 20, "batch": 2,
        "max_length": 64, "checkpoint_every": 1,
    });
    let data = input("data", "answers", ArtifactType::Prompts, &path);
    let job = bench.job("sft", spec, vec![bench.base(), data]);
    let said = failure(&bench, &job);
    assert!(
        job.partial_dir
            .join("checkpoints/step-4/state.json")
            .exists()
    );
    assert_eq!(said, failure(&bench, &job));
    insta::assert_snapshot!(said);
}

#[test]
fn reward_model_weights_that_are_not_numbers() {
    let bench = Bench::new();
    run(&train_job(&bench, "train", &clear_pairs("kind", 4), 64));
    poison(&bench.path("train/model"), "score.weight");
    let job = score_job(&bench, bench.path("train/model"));
    let said = failure(&bench, &job);
    let path = bench.rows("test.jsonl", &clear_pairs("kind", 2));
    let spec = json!({"kind": "evaluate-reward", "model": "rm", "data": "kind"});
    let model = reward_model(&bench.path("train/model"));
    let job = bench.job("evaluate", spec, vec![model, preferences("kind", &path)]);
    assert_eq!(said, failure(&bench, &job));
    insta::assert_snapshot!(said);
}
