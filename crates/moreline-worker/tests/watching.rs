//! Evaluation while training, early stopping, the best weights, models on the way.

use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::event::Event;
use moreline_protocol::job::Job;
use moreline_protocol::rows::HistoryRow;
use serde_json::{Map, Value, json};

use crate::tiny::{
    Bench, answered_prompts, assert_same_files, clear_pairs, failure, input, preferences,
    read_rows, reward_model, run, run_with_events,
};

/// A training of the tiny reward model, with other settings laid over.
fn reward_job(bench: &Bench, name: &str, settings: Value, held_out: &[(&str, Vec<Value>)]) -> Job {
    let mut spec = json!({
        "kind": "train-reward", "model": "base", "data": "kind", "precision": "fp32",
        "steps": 12, "batch": 4, "lr": 2e-3, "max_length": 128, "seed": 5,
    });
    overlay(&mut spec, settings);
    let path = bench.rows("kind.jsonl", &clear_pairs("kind", 10));
    let mut inputs = vec![bench.base(), preferences("kind", &path)];
    for (set, rows) in held_out {
        let path = bench.rows(&format!("{set}.jsonl"), rows);
        inputs.push(input("evaluate_on", set, ArtifactType::Preferences, &path));
    }
    bench.job(name, spec, inputs)
}

fn overlay(spec: &mut Value, settings: Value) {
    let Value::Object(settings) = settings else {
        unreachable!()
    };
    for (field, value) in settings {
        spec[field] = value;
    }
}

/// Pairs whose better response is what training says is the worse.
fn contrary(rows: usize) -> Vec<Value> {
    let mut rows = clear_pairs("kind", rows);
    for row in &mut rows {
        let (chosen, rejected) = (row["chosen"].take(), row["rejected"].take());
        (row["chosen"], row["rejected"]) = (rejected, chosen);
    }
    rows
}

fn history(bench: &Bench, name: &str) -> Vec<HistoryRow> {
    read_rows(&bench.path(&format!("{name}/history.jsonl")))
}

/// The steps whose row has a value of that name.
fn steps_with(history: &[HistoryRow], name: &str) -> Vec<u64> {
    let has = |row: &&HistoryRow| row.values.contains_key(name);
    history.iter().filter(has).map(|row| row.step).collect()
}

fn close(a: f64, b: &Value, tolerance: f64) {
    let b = b.as_f64().unwrap();
    assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a} and {b}");
}

#[test]
fn evaluation_while_training_is_that_of_an_evaluation_stage() {
    let bench = Bench::new();
    let sets = || vec![("near", clear_pairs("near", 7)), ("far", contrary(5))];
    let settings = json!({
        "evaluate_on": ["near", "far"], "evaluate_every": 5, "evaluate_at_start": true,
    });
    let job = reward_job(&bench, "watched", settings, &sets());
    let (metrics, events) = run_with_events(&job);
    let rows = history(&bench, "watched");
    assert_eq!(steps_with(&rows, "eval/loss"), [0, 5, 10, 12]);
    assert_eq!(metrics["steps"], 12);
    assert_eq!(metrics["evaluations"], 4);
    assert_eq!(
        (&metrics["given_step"], &metrics["stopped_early"]),
        (&json!(12), &json!(false))
    );

    // Looking does not change what is learnt.
    run(&reward_job(&bench, "alone", json!({}), &[]));
    assert_same_files(&bench.path("watched/model"), &bench.path("alone/model"));

    let spec = json!({
        "kind": "evaluate-reward", "model": "rm", "data": ["near", "far"],
        "precision": "fp32", "resamples": 20,
    });
    let set = |name: &str| preferences(name, &bench.path(&format!("{name}.jsonl")));
    let inputs = vec![
        reward_model(&bench.path("watched/model")),
        set("near"),
        set("far"),
    ];
    let expected = run(&bench.job("evaluate", spec, inputs));
    let last = &rows.last().unwrap().values;
    for set in ["near", "far"] {
        let found = |figure: &str| last[&format!("eval/{set}/{figure}")];
        let expected = &expected["sets"][set];
        close(found("accuracy"), &expected["accuracy"], 0.0);
        close(found("loss"), &expected["nll"], 1e-5);
        close(found("margin"), &expected["mean_margin"], 1e-5);
        close(found("ece"), &expected["ece"], 1e-5);
        close(
            found("loss"),
            &metrics["evaluation"][format!("{set}/loss")],
            0.0,
        );
    }
    close(last["eval/loss"], &expected["mean"]["nll"], 1e-5);
    close(last["eval/accuracy"], &expected["mean"]["accuracy"], 1e-9);
    rates_are_told_and_not_kept(&events, &rows);
}

fn rates_are_told_and_not_kept(events: &[Event], rows: &[HistoryRow]) {
    let mut told = 0;
    for event in events {
        let Event::Scalars { values, .. } = event else {
            continue;
        };
        if values.contains_key("loss") {
            told += 1;
            for name in ["tokens_per_s", "pairs_per_s", "peak_memory_mb"] {
                assert!(values[name] > 0.0, "{name}");
            }
        }
    }
    assert_eq!(told, 12);
    for row in rows.iter().filter(|row| row.step > 0) {
        assert!(row.values["reward_std"] > 0.0 && row.values["reward_mean"].is_finite());
        let saved = row.values["tokens_saved"];
        assert!(0.0 < saved && saved < 0.5, "{saved}");
        for name in row.values.keys() {
            assert!(
                !name.ends_with("_per_s") && !name.ends_with("_mb"),
                "{name}"
            );
        }
    }
}

#[test]
fn patience_ends_a_training_and_the_best_weights_are_given() {
    let bench = Bench::new();
    let settings = json!({
        "evaluate_on": "contrary", "evaluate_every": 2, "patience": 2, "keep_best": true,
        "save_every": 2,
    });
    let job = reward_job(&bench, "train", settings, &[("contrary", contrary(6))]);
    let metrics = run(&job);
    // The more it learns, the worse it does there.
    assert_eq!(metrics["best_step"], 2, "{metrics:?}");
    assert_eq!(metrics["given_step"], 2);
    assert_eq!(
        (&metrics["steps"], &metrics["stopped_early"]),
        (&json!(6), &json!(true))
    );
    let model = |name: &str| bench.path(&format!("train/{name}"));
    assert_same_files(&model("model"), &model("model@step-2"));
    assert!(model("model@step-6").exists() && !model("model@step-8").exists());
    let weights = |name: &str| std::fs::read(model(name).join("model.safetensors")).unwrap();
    assert_ne!(weights("model@step-4"), weights("model@step-2"));
}

#[test]
fn accuracy_can_be_what_counts() {
    let bench = Bench::new();
    let settings = json!({
        "evaluate_on": "near", "best_by": "accuracy", "patience": 1, "min_delta": 0.01,
        "evaluate_every": 1, "lr": 0.0,
    });
    let held_out = [("near", clear_pairs("near", 6))];
    let metrics = run(&reward_job(&bench, "train", settings, &held_out));
    // Nothing is learnt: the second evaluation is no better than the first.
    assert_eq!(
        (&metrics["steps"], &metrics["best_step"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(metrics["given_step"], 2);
}

#[test]
fn epochs_end_with_an_evaluation() {
    let bench = Bench::new();
    // Ten rows, four a step: epochs end with steps 3 and 5; the last is 7.
    let settings = json!({"evaluate_on": "near", "steps": 7});
    let held_out = [("near", clear_pairs("near", 3))];
    run(&reward_job(&bench, "train", settings, &held_out));
    assert_eq!(
        steps_with(&history(&bench, "train"), "eval/near/ece"),
        [3, 5, 7]
    );
}

#[test]
fn intermediate_models_are_those_of_shorter_trainings() {
    let bench = Bench::new();
    let constant = json!({"save_every": 5, "schedule": "constant", "warmup_ratio": 0.0});
    run(&reward_job(&bench, "long", constant.clone(), &[]));
    let mut short = constant;
    overlay(&mut short, json!({"steps": 5}));
    run(&reward_job(&bench, "short", short, &[]));
    let long = |name: &str| bench.path(&format!("long/{name}"));
    assert_same_files(&long("model@step-5"), &bench.path("short/model"));
    assert_same_files(
        &bench.path("short/model@step-5"),
        &bench.path("short/model"),
    );
    assert!(long("model@step-10").exists() && !long("model@step-12").exists());
}

#[test]
fn limits_of_the_two_kinds_of_sets_are_apart() {
    let bench = Bench::new();
    let settings = json!({"evaluate_on": "near", "evaluate_limit": 2, "limit": 6, "steps": 2});
    // Only the first two rows are the wrong way round.
    let mut rows = contrary(2);
    rows.extend(clear_pairs("kind", 8));
    let job = reward_job(&bench, "train", settings, &[("near", rows)]);
    let metrics = run(&job);
    assert_eq!(metrics["rows"], 6);
    let margin = |name: &str| metrics["evaluation"][name].as_f64().unwrap();
    // Of two pairs, the accuracy is a half or whole number of halves.
    assert_eq!((margin("near/accuracy") * 2.0).fract(), 0.0);
}

fn sft_job(bench: &Bench, name: &str, settings: Map<String, Value>) -> Job {
    let mut spec = json!({
        "kind": "sft", "model": "base", "data": "answers", "precision": "fp32", "steps": 8,
        "batch": 4, "lr": 1e-3, "max_length": 128, "evaluate_on": ["new", "answers"],
    });
    overlay(&mut spec, Value::Object(settings));
    let answers = bench.rows("answers.jsonl", &answered_prompts(8));
    let new = bench.rows("new.jsonl", &answered_prompts(13)[8..]);
    let prompts = |role, name, path: &_| input(role, name, ArtifactType::Prompts, path);
    let inputs = vec![
        bench.base(),
        prompts("data", "answers", &answers),
        prompts("evaluate_on", "new", &new),
        prompts("evaluate_on", "answers", &answers),
    ];
    bench.job(name, spec, inputs)
}

#[test]
fn fine_tuning_is_evaluated_as_perplexity_is() {
    let bench = Bench::new();
    let metrics = run(&sft_job(&bench, "train", Map::new()));
    // Two epochs of two steps each, and again.
    assert_eq!(
        steps_with(&history(&bench, "train"), "eval/new/loss"),
        [2, 4, 6, 8]
    );
    let spec = json!({
        "kind": "perplexity", "model": "m", "data": ["new", "answers"], "precision": "fp32",
        "max_length": 128,
    });
    let prompts = |name: &str| {
        let path = bench.path(&format!("{name}.jsonl"));
        input("data", name, ArtifactType::Prompts, &path)
    };
    let model = bench.path("train/model");
    let model = input("model", "m", ArtifactType::LanguageModel, &model);
    let inputs = vec![model, prompts("new"), prompts("answers")];
    let expected = run(&bench.job("measure", spec, inputs));
    for set in ["new", "answers"] {
        let found = |figure: &str| metrics["evaluation"][format!("{set}/{figure}")].as_f64();
        let expected = &expected["sets"][set];
        close(found("loss").unwrap(), &expected["nll_per_token"], 1e-5);
        close(found("perplexity").unwrap(), &expected["perplexity"], 1e-4);
    }
}

#[test]
fn a_step_that_will_not_come_is_refused_before_the_first() {
    let bench = Bench::new();
    let mut job = reward_job(&bench, "train", json!({"save_every": 5}), &[]);
    job.wanted_steps = vec![5, 15];
    insta::assert_snapshot!(failure(&bench, &job), @r"
    failed to give the model after step 15, which another stage takes: the training has 12 steps
    hint: take `@step-10`, or train for longer
    ");
    let mut job = reward_job(&bench, "short", json!({"save_every": 50}), &[]);
    job.wanted_steps = vec![50];
    insta::assert_snapshot!(failure(&bench, &job), @r"
    failed to give the model after step 50, which another stage takes: the training has 12 steps
    hint: set `save_every` to 12 or less, or train for longer
    ");
}

#[test]
fn a_held_out_set_of_ties_is_refused() {
    let bench = Bench::new();
    let tie = json!({"prompt": "Ask", "responses": ["yes", "no"], "scores": [1.0, 1.0]});
    let settings = json!({"evaluate_on": "ties"});
    let job = reward_job(&bench, "train", settings, &[("ties", vec![tie])]);
    insta::assert_snapshot!(failure(&bench, &job), @r"
    failed to read the preference set [DIR]/ties.jsonl: no decided pair: the scores are tied within each of its 1 rows
    hint: give at least one row two responses of different scores, or take other rows (`offset`, `limit`)
    ");
}
