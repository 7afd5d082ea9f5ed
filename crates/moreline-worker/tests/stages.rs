//! Every kind of stage on a tiny model: what it writes is what it should be.

use std::path::Path;

use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::event::Metrics;
use moreline_protocol::job::Job;
use moreline_protocol::rows::{
    EvaluationRow, FedRow, Finish, HistoryRow, JudgedRow, PerplexityRow, ResponseRow,
};
use serde_json::{Value, json};

use crate::tiny::{
    Bench, answered_prompts, assert_same_files, clear_pairs, input, preferences, read_rows,
    reward_model, run,
};

fn training(method: &str, precision: &str) -> Value {
    json!({
        "kind": "train-reward", "model": "base", "data": ["kind", "calm"], "method": method,
        "precision": precision, "steps": 30, "batch": 8, "lr": 2e-3, "max_length": 128, "seed": 5,
    })
}

/// A training job on two sets of clear pairs.
fn training_job(bench: &Bench, name: &str, spec: Value) -> Job {
    let set = |set: &str| {
        let path = bench.rows(&format!("{set}.jsonl"), &clear_pairs(set, 12));
        preferences(set, &path)
    };
    bench.job(name, spec, vec![bench.base(), set("kind"), set("calm")])
}

fn trained(bench: &Bench, name: &str, method: &str, precision: &str) -> Metrics {
    run(&training_job(bench, name, training(method, precision)))
}

fn evaluation_job(bench: &Bench, name: &str, model: &Path, precision: &str) -> Job {
    let spec = json!({
        "kind": "evaluate-reward", "model": "rm", "data": ["kind", "calm"],
        "precision": precision, "resamples": 50,
    });
    let set = |set: &str| preferences(set, &bench.path(&format!("{set}.jsonl")));
    bench.job(
        name,
        spec,
        vec![reward_model(model), set("kind"), set("calm")],
    )
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// Mean of -log sigmoid(chosen - rejected) and the share of right orders.
fn loss_and_accuracy(records: &[EvaluationRow]) -> (f64, f64) {
    let margins: Vec<f64> = records
        .iter()
        .map(|r| r.rewards[0] - r.rewards[1])
        .collect();
    let count = margins.len() as f64;
    let loss = margins.iter().map(|m| (-m).exp().ln_1p()).sum::<f64>() / count;
    let right = margins.iter().filter(|m| **m > 0.0).count() as f64;
    (loss, right / count)
}

fn check_reward_training(method: &str, precision: &str) {
    let bench = Bench::new();
    let metrics = trained(&bench, "train", method, precision);
    assert_eq!(metrics["steps"], 30);
    assert_eq!(
        (&metrics["rows"], &metrics["pairs"]),
        (&json!(24), &json!(24))
    );
    assert_eq!(metrics["skipped_steps"], 0);
    let tenths = metrics["loss_by_tenths"].as_array().unwrap();
    assert!(number(&tenths[9]) < 0.1, "{tenths:?}");
    let history: Vec<HistoryRow> = read_rows(&bench.path("train/history.jsonl"));
    // A new head knows nothing: ln 2 a pair.
    close(history[0].values["loss"], 2f64.ln(), 0.2);
    assert!(history.iter().map(|row| row.step).eq(1..=30));
    for row in &history {
        let weight = |set: &str| row.values.get(&format!("weight/{set}")).copied();
        match method {
            "more" => {
                let (kind, calm) = (weight("kind").unwrap(), weight("calm").unwrap());
                assert!(kind >= 0.0 && calm >= 0.0 && (kind + calm - 1.0).abs() < 1e-9);
            }
            _ => assert!(row.values["loss"].is_finite()),
        }
    }
    let model = bench.path("train/model");
    let metrics = run(&evaluation_job(&bench, "evaluate", &model, precision));
    let records: Vec<EvaluationRow> = read_rows(&bench.path("evaluate/records.jsonl"));
    assert_eq!(records.len(), 24);
    let (loss, accuracy) = loss_and_accuracy(&records);
    assert!(accuracy > 0.9, "{accuracy}");
    assert!((number(&metrics["mean"]["accuracy"]) - accuracy).abs() < 1e-9);
    assert!((number(&metrics["mean"]["nll"]) - loss).abs() < 1e-9);
    let set = &metrics["sets"]["calm"];
    assert_eq!((&set["rows"], &set["pairs"]), (&json!(12), &json!(12)));
    assert!(number(&set["accuracy_low"]) <= number(&set["accuracy"]));
    for figure in ["ece", "ace", "mce", "brier"] {
        assert!((0.0..=1.0).contains(&number(&set[figure])), "{figure}");
    }
}

#[test]
fn uniform_training_tells_clear_pairs_apart_in_fp32() {
    check_reward_training("uniform", "fp32");
}

#[test]
fn uniform_training_tells_clear_pairs_apart_in_bf16() {
    check_reward_training("uniform", "bf16");
}

#[test]
fn more_training_tells_clear_pairs_apart_in_fp32() {
    check_reward_training("more", "fp32");
}

#[test]
fn more_training_tells_clear_pairs_apart_in_bf16() {
    check_reward_training("more", "bf16");
}

/// The tensors of a safetensors file with their types.
fn tensors(path: &Path) -> Vec<(String, String)> {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let named = header.as_object().unwrap().iter();
    named
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, tensor)| (name.clone(), tensor["dtype"].as_str().unwrap().to_owned()))
        .collect()
}

/// Adapters learn clear pairs; the merged model scores as the last step did,
/// and the folder holds what peft expects.
#[test]
fn adapters_learn_and_are_written_merged_and_by_themselves() {
    let bench = Bench::new();
    let mut spec = training("uniform", "fp32");
    spec["lora"] =
        json!({"rank": 4, "alpha": 16, "targets": ["q", "v", "up"], "save_adapter": true});
    spec["train_blocks"] = json!(2);
    spec["lr"] = json!(1e-2);
    spec["export_precision"] = json!("bf16");
    let metrics = run(&training_job(&bench, "train", spec));
    let tenths = metrics["loss_by_tenths"].as_array().unwrap();
    assert!(number(&tenths[9]) < 0.3, "{tenths:?}");
    let model = bench.path("train/model");
    for (name, dtype) in tensors(&model.join("model.safetensors")) {
        let expected = if name == "score.weight" {
            "F32"
        } else {
            "BF16"
        };
        assert_eq!(dtype, expected, "{name}");
    }
    run(&evaluation_job(&bench, "evaluate", &model, "fp32"));
    let records: Vec<EvaluationRow> = read_rows(&bench.path("evaluate/records.jsonl"));
    let (loss, accuracy) = loss_and_accuracy(&records);
    assert!(accuracy > 0.9 && loss < 0.4, "{accuracy} {loss}");
    let folder = bench.path("train/adapter");
    let config = std::fs::read(folder.join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(
        config["target_modules"],
        json!(["q_proj", "v_proj", "up_proj"])
    );
    assert_eq!(config["layers_to_transform"], json!([1, 2]));
    assert_eq!(
        (&config["r"], &config["lora_alpha"]),
        (&json!(4), &json!(16.0))
    );
    let names: Vec<String> = tensors(&folder.join("adapter_model.safetensors"))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), 2 * 3 * 2 + 1);
    for name in [
        "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.2.mlp.up_proj.lora_B.weight",
        "base_model.model.score.weight",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} in {names:?}"
        );
    }
}

fn sft_losses(bench: &Bench, name: &str, extra: &Value, budget: u32) -> Vec<f64> {
    let path = bench.rows("answers.jsonl", &answered_prompts(8));
    let mut spec = json!({
        "kind": "sft", "model": "base", "data": "answers", "precision": "fp32",
        "steps": 12, "batch": 4, "lr": 3e-3, "max_length": 128,
    });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let data = input("data", "answers", ArtifactType::Prompts, &path);
    let mut job = bench.job(name, spec, vec![bench.base(), data]);
    job.resources.token_budget = budget;
    run(&job);
    let history: Vec<HistoryRow> = read_rows(&job.output_dir.join("history.jsonl"));
    history.iter().map(|row| row.values["loss"]).collect()
}

#[test]
fn fine_tuning_is_the_same_whatever_the_micro_batches_and_what_is_recomputed() {
    let bench = Bench::new();
    let settings = json!({"label_smoothing": 0.1, "decay_norms": false, "weight_decay": 0.1});
    let whole = sft_losses(&bench, "whole", &settings, 4096);
    let mut again = settings.clone();
    again["recompute_every"] = json!(2);
    let recomputed = sft_losses(&bench, "recomputed", &again, 4096);
    assert_eq!(whole, recomputed);
    assert_same_files(&bench.path("whole"), &bench.path("recomputed"));
    let pieces = sft_losses(&bench, "pieces", &settings, 40);
    for (whole, pieces) in whole.iter().zip(&pieces) {
        close(*whole, *pieces, 1e-4);
    }
    assert!(whole[11] < whole[0]);
    let plain = sft_losses(&bench, "plain", &json!({}), 4096);
    assert!((plain[0] - whole[0]).abs() > 1e-4);
}

#[test]
fn fine_tuning_a_part_or_an_adapter_lowers_the_loss() {
    let bench = Bench::new();
    for (name, part) in [
        ("top", json!({"train_blocks": 1})),
        ("frozen", json!({"freeze_embedding": true})),
        (
            "lora",
            json!({"lora": {"rank": 8, "alpha": 32}, "lr": 2e-2}),
        ),
    ] {
        let losses = sft_losses(&bench, name, &part, 4096);
        assert!(losses[11] < 0.95 * losses[0], "{name}: {losses:?}");
    }
}

#[test]
fn an_exported_reward_model_gives_the_loss_that_training_saw() {
    let bench = Bench::new();
    let mut spec = training("uniform", "fp32");
    for (key, value) in [
        ("steps", json!(1)),
        ("batch", json!(24)),
        ("lr", json!(0.0)),
    ] {
        spec[key] = value;
    }
    run(&training_job(&bench, "train", spec));
    let history: Vec<HistoryRow> = read_rows(&bench.path("train/history.jsonl"));
    let model = bench.path("train/model");
    run(&evaluation_job(&bench, "evaluate", &model, "fp32"));
    let records: Vec<EvaluationRow> = read_rows(&bench.path("evaluate/records.jsonl"));
    let (loss, accuracy) = loss_and_accuracy(&records);
    assert!((history[0].values["loss"] - loss).abs() < 1e-5);
    assert!((history[0].values["accuracy"] - accuracy).abs() < 1e-9);
}

fn response_row(id: u64, prompt: &str, responses: &[String]) -> Value {
    let responses: Vec<Value> = responses.iter().map(|text| json!({"text": text})).collect();
    json!({"id": id, "prompt": [{"role": "user", "content": prompt}], "responses": responses})
}

fn score_job(bench: &Bench, name: &str, rows: &[Value]) -> Job {
    let path = bench.rows(&format!("{name}.in.jsonl"), rows);
    let spec = json!({"kind": "score", "model": "rm", "responses": "r", "precision": "fp32"});
    let responses = input("responses", "r", ArtifactType::Responses, &path);
    let model = reward_model(&bench.path("train/model"));
    bench.job(name, spec, vec![model, responses])
}

fn scores(bench: &Bench, name: &str) -> Vec<Vec<f64>> {
    let rows: Vec<ResponseRow> = read_rows(&bench.path(&format!("{name}/responses.jsonl")));
    let score = |row: &ResponseRow| row.responses.iter().map(|r| r.score.unwrap()).collect();
    rows.iter().map(score).collect()
}

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() < tolerance, "{a} against {b}");
}

#[test]
fn scores_are_the_rewards_of_evaluation_whatever_else_is_scored() {
    let bench = Bench::new();
    trained(&bench, "train", "uniform", "fp32");
    let model = bench.path("train/model");
    run(&evaluation_job(&bench, "evaluate", &model, "fp32"));
    let records: Vec<EvaluationRow> = read_rows(&bench.path("evaluate/records.jsonl"));
    let pairs = clear_pairs("kind", 12);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |(i, pair): (usize, &Value)| {
        let responses = [text(&pair["chosen"]), text(&pair["rejected"])];
        response_row(i as u64, pair["prompt"].as_str().unwrap(), &responses)
    };
    let rows: Vec<Value> = pairs.iter().enumerate().map(row).collect();
    let metrics = run(&score_job(&bench, "score", &rows));
    let found = scores(&bench, "score");
    let own = records.iter().filter(|record| record.set == "kind");
    for (record, scores) in own.zip(&found) {
        close(record.rewards[0], scores[0], 1e-4);
        close(record.rewards[1], scores[1], 1e-4);
    }
    let all = found.concat();
    close(
        number(&metrics["mean"]),
        all.iter().sum::<f64>() / 24.0,
        1e-9,
    );
    assert_eq!(metrics["responses"], 24);

    // The same response twice, beside a far longer one and alone.
    let [short, long] = ["A kind answer.".to_owned(), "Z".repeat(100)];
    let among = [short.clone(), long.clone(), short.clone()];
    let rows = [
        response_row(0, "Ask", &among),
        response_row(1, "Ask", &[long]),
        response_row(2, "Ask", &[short]),
    ];
    run(&score_job(&bench, "lengths", &rows));
    let found = scores(&bench, "lengths");
    assert_eq!(found[0][0], found[0][2]);
    close(found[0][0], found[2][0], 1e-4);
    close(found[0][1], found[1][0], 1e-4);
    assert!((found[0][0] - found[0][1]).abs() > 1e-2);
}

#[test]
fn an_embedded_judge_writes_the_scores_of_both_sides() {
    let bench = Bench::new();
    trained(&bench, "train", "uniform", "fp32");
    let texts = |kind: &str| (0..4).map(|i| format!("{kind} {i}")).collect::<Vec<_>>();
    let side = |name: &str, kind: &str| {
        let made = |(i, text): (usize, String)| response_row(i as u64, "Ask", &[text]);
        let rows: Vec<Value> = texts(kind).into_iter().enumerate().map(made).collect();
        run(&score_job(&bench, &format!("score-{name}"), &rows));
        let path = bench.path(&format!("score-{name}/responses.jsonl"));
        input(name, name, ArtifactType::ScoredResponses, &path)
    };
    let (a, b) = (side("a", "A kind answer"), side("b", "ZXQ! QQZ"));
    let spec = json!({"kind": "judge", "a": "a", "b": "b", "model": "rm", "precision": "fp32"});
    let model = reward_model(&bench.path("train/model"));
    run(&bench.job("judge", spec, vec![a, b, model]));
    let judged: Vec<JudgedRow> = read_rows(&bench.path("judge/judged.jsonl"));
    assert!(judged.iter().map(|row| row.id).eq(0..4));
    let (a, b) = (scores(&bench, "score-a"), scores(&bench, "score-b"));
    for (i, row) in judged.iter().enumerate() {
        close(row.reward_a, a[i][0], 1e-4);
        close(row.reward_b, b[i][0], 1e-4);
        assert!(row.reward_a > row.reward_b);
        assert_eq!(row.b, format!("ZXQ! QQZ {i}"));
    }
}

fn perplexity(bench: &Bench, name: &str, model: &Path, budget: u32) -> f64 {
    let spec = json!({
        "kind": "perplexity", "model": "m", "data": "answers", "precision": "fp32",
        "max_length": 128,
    });
    let data = input(
        "data",
        "answers",
        ArtifactType::Prompts,
        &bench.path("answers.jsonl"),
    );
    let model = input("model", "m", ArtifactType::LanguageModel, model);
    let mut job = bench.job(name, spec, vec![model, data]);
    job.resources.token_budget = budget;
    let metrics = run(&job);
    let records: Vec<PerplexityRow> = read_rows(&job.output_dir.join("records.jsonl"));
    assert!(records.iter().map(|r| r.row).eq(0..8));
    // The answer, the space before it and the end token: one token a byte.
    assert_eq!(records[0].tokens, "one two 0 three".len() as u64 + 2);
    let tokens: u64 = records.iter().map(|r| r.tokens).sum();
    let logprob: f64 = records.iter().map(|r| r.logprob).sum();
    let found = number(&metrics["perplexity"]);
    close(found, (-logprob / tokens as f64).exp(), 1e-9 * found);
    assert_eq!(metrics["sets"]["answers"]["tokens"], tokens);
    found
}

#[test]
fn fine_tuning_lowers_its_loss_and_the_perplexity() {
    for precision in ["fp32", "bf16"] {
        let bench = Bench::new();
        let path = bench.rows("answers.jsonl", &answered_prompts(8));
        let spec = json!({
            "kind": "sft", "model": "base", "data": "answers", "precision": precision,
            "steps": 20, "batch": 4, "lr": 3e-3, "max_length": 128,
        });
        let data = input("data", "answers", ArtifactType::Prompts, &path);
        let metrics = run(&bench.job("sft", spec, vec![bench.base(), data]));
        let tenths = metrics["loss_by_tenths"].as_array().unwrap();
        assert!(number(&tenths[9]) < 0.6 * number(&tenths[0]), "{tenths:?}");
        let fed: Vec<FedRow> = read_rows(&bench.path("sft/fed.jsonl"));
        assert!(
            fed[0]
                .text
                .ends_with("Count 0\n\nAssistant: one two 0 three</s>")
        );
        let before = perplexity(&bench, "before", &bench.path("model"), 4096);
        let after = perplexity(&bench, "after", &bench.path("sft/model"), 4096);
        assert!(after < 0.6 * before, "{before} to {after}");
        close(after.ln(), number(&tenths[9]), 0.5);
    }
}

#[test]
fn prompts_without_an_answer_are_left_out_and_counted() {
    let bench = Bench::new();
    let mut rows = answered_prompts(3);
    rows.insert(1, json!({"prompt": "No answer"}));
    let path = bench.rows("answers.jsonl", &rows);
    let spec = json!({"kind": "perplexity", "model": "base", "data": "answers"});
    let data = input("data", "answers", ArtifactType::Prompts, &path);
    let metrics = run(&bench.job("perplexity", spec, vec![bench.base(), data]));
    let records: Vec<PerplexityRow> = read_rows(&bench.path("perplexity/records.jsonl"));
    assert!(records.iter().map(|record| record.row).eq([0, 2, 3]));
    assert_eq!(metrics["dropped"]["without_answer"], 1);
}

fn generate_spec() -> Value {
    json!({
        "kind": "generate", "model": "base", "prompts": "p", "samples": 3, "max_new_tokens": 12,
        "temperature": 1.0, "precision": "fp32", "seed": 3,
    })
}

fn generate_job(bench: &Bench, name: &str, spec: Value) -> Job {
    let path = bench.rows("prompts.jsonl", &answered_prompts(5));
    let prompts = input("prompts", "p", ArtifactType::Prompts, &path);
    bench.job(name, spec, vec![bench.base(), prompts])
}

#[test]
fn generation_answers_every_prompt_as_often_as_asked() {
    let bench = Bench::new();
    let metrics = run(&generate_job(&bench, "generate", generate_spec()));
    let rows: Vec<ResponseRow> = read_rows(&bench.path("generate/responses.jsonl"));
    assert!(rows.iter().map(|row| row.id).eq(0..5));
    let mut tokens = 0;
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row.responses.len(), 3);
        assert_eq!(
            row.reference.as_deref(),
            Some(format!("one two {i} three").as_str())
        );
        for response in &row.responses {
            assert!((1..=12).contains(&response.tokens));
            assert!(response.finish == Finish::Stop || response.tokens == 12);
            // The tiny model knows nothing: about ln 320 nats a token.
            let per_token = -response.logprob.unwrap() / response.tokens as f64;
            assert!((3.0..10.0).contains(&per_token), "{per_token}");
            tokens += response.tokens;
        }
    }
    assert_eq!(metrics["tokens"], tokens);
    assert_eq!(metrics["responses"], 15);
    assert_ne!(rows[0].responses[0].text, rows[0].responses[1].text);
    let mut other = generate_spec();
    other["seed"] = json!(4);
    run(&generate_job(&bench, "other", other));
    let other: Vec<ResponseRow> = read_rows(&bench.path("other/responses.jsonl"));
    assert_ne!(rows, other);
}

#[test]
fn the_same_job_writes_the_same_bytes() {
    let bench = Bench::new();
    for name in ["one", "two"] {
        trained(&bench, &format!("train-{name}"), "more", "bf16");
        run(&generate_job(
            &bench,
            &format!("generate-{name}"),
            generate_spec(),
        ));
    }
    assert_same_files(&bench.path("train-one"), &bench.path("train-two"));
    assert_same_files(&bench.path("generate-one"), &bench.path("generate-two"));
    assert!(bench.path("train-one/model/model.safetensors").exists());
}

#[test]
fn the_token_budget_leaves_results_alone() {
    let bench = Bench::new();
    bench.rows("answers.jsonl", &answered_prompts(8));
    let mut found = Vec::new();
    for budget in [64, 4096] {
        let mut spec = training("more", "fp32");
        spec["steps"] = json!(6);
        let name = format!("train-{budget}");
        let mut job = training_job(&bench, &name, spec);
        job.resources.token_budget = budget;
        run(&job);
        let history: Vec<HistoryRow> = read_rows(&job.output_dir.join("history.jsonl"));
        let model = bench.path("train-64/model");
        let mut job = evaluation_job(&bench, &format!("evaluate-{budget}"), &model, "fp32");
        job.resources.token_budget = budget;
        run(&job);
        let records: Vec<EvaluationRow> = read_rows(&job.output_dir.join("records.jsonl"));
        let name = format!("perplexity-{budget}");
        let mut figures = vec![perplexity(&bench, &name, &bench.path("model"), budget).ln()];
        figures.extend(history.iter().map(|row| row.values["loss"]));
        figures.extend(history.iter().map(|row| row.values["weight/kind"]));
        figures.extend(records.iter().flat_map(|record| record.rewards.clone()));
        found.push(figures);
    }
    assert_eq!(found[0].len(), 1 + 6 + 6 + 48);
    for (small, large) in found[0].iter().zip(&found[1]) {
        close(*small, *large, 1e-4);
    }
}
