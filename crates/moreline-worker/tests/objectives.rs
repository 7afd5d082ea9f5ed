//! What is minimised and what is drawn, through the real worker.

use std::path::Path;

use moreline_protocol::job::{Input, Job};
use moreline_protocol::rows::HistoryRow;
use serde_json::{Value, json};

use crate::tiny::{
    Bench, assert_same_files, clear_pairs, failure, preferences, read_rows, run, write_json,
};

/// A training on these sets, with settings of its own over small ones.
fn job(bench: &Bench, name: &str, sets: &[(&str, &[Value])], settings: Value) -> Job {
    let names: Vec<&str> = sets.iter().map(|(name, _)| *name).collect();
    let mut spec = json!({
        "kind": "train-reward", "model": "base", "data": names, "precision": "fp32",
        "steps": 6, "batch": 8, "lr": 2e-3, "max_length": 128, "seed": 5,
    });
    let own = settings.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(own);
    let mut inputs: Vec<Input> = vec![bench.base()];
    for (set, rows) in sets {
        let path = bench.rows(&format!("{name}.{set}.jsonl"), rows);
        inputs.push(preferences(set, &path));
    }
    bench.job(name, spec, inputs)
}

fn history(bench: &Bench, name: &str) -> Vec<HistoryRow> {
    read_rows(&bench.path(name).join("history.jsonl"))
}

fn assert_same_model(bench: &Bench, a: &str, b: &str) {
    assert_same_files(&bench.path(a).join("model"), &bench.path(b).join("model"));
}

#[test]
fn the_rivals_learn_and_tell_their_weights() {
    let bench = Bench::new();
    let (kind, calm) = (clear_pairs("kind", 12), clear_pairs("calm", 12));
    for method in ["pcgrad", "dwa", "uniform"] {
        let settings = json!({
            "method": method, "steps": 30, "group_by_task": true, "dwa_window": 3,
        });
        let metrics = run(&job(
            &bench,
            method,
            &[("kind", &kind), ("calm", &calm)],
            settings,
        ));
        assert!(
            metrics["final_loss"].as_f64().unwrap() < 0.3,
            "{method}: {metrics:?}"
        );
        let rows = history(&bench, method);
        assert_eq!(rows.len(), 30);
        for row in &rows {
            let sum = row.values["weight/kind"] + row.values["weight/calm"];
            assert!((sum - 1.0).abs() < 1e-12, "{method}");
        }
        let moved = rows.iter().any(|row| row.values["weight/kind"] != 0.5);
        assert_eq!(moved, method == "dwa", "{method}");
    }
}

#[test]
fn single_is_uniform_on_one_set_and_refuses_two() {
    let bench = Bench::new();
    let rows = clear_pairs("kind", 12);
    for method in ["single", "uniform"] {
        run(&job(
            &bench,
            method,
            &[("kind", &rows)],
            json!({"method": method}),
        ));
    }
    assert_same_model(&bench, "single", "uniform");
    let two: [(&str, &[Value]); 2] = [("kind", &rows), ("calm", &rows)];
    let refused = job(&bench, "two", &two, json!({"method": "single"}));
    insta::assert_snapshot!(failure(&bench, &refused), @r#"
    failed to train with method `single` on 2 sets: `kind`, `calm`
    hint: name one set, or use method = "uniform"
    "#);
}

#[test]
fn what_was_drawn_is_told_by_set() {
    let bench = Bench::new();
    let (kind, calm) = (clear_pairs("kind", 12), clear_pairs("calm", 4));
    let sets: [(&str, &[Value]); 2] = [("kind", &kind), ("calm", &calm)];
    let settings = json!({"mixing": "weights", "mixing_weights": {"kind": 1, "calm": 3}});
    let metrics = run(&job(&bench, "weights", &sets, settings));
    assert_eq!(metrics["drawn"], json!({"kind": 12, "calm": 36}));
    assert_eq!(metrics["passes"], json!({"kind": 1.0, "calm": 9.0}));
    let settings = json!({"mixing": "equal", "resample": 6, "steps": null, "epochs": 2.0});
    let metrics = run(&job(&bench, "resampled", &sets, settings));
    assert_eq!(metrics["drawn"], json!({"kind": 12, "calm": 12}));
    assert_eq!(metrics["passes"], json!({"kind": 1.0, "calm": 3.0}));
    let settings = json!({"mixing": "weights", "mixing_weights": {"kind": 1, "clam": 3}});
    let refused = job(&bench, "unknown", &sets, settings);
    insta::assert_snapshot!(failure(&bench, &refused), @r"
    failed to mix sets by weights: there is no set `clam`
    hint: give `mixing_weights` a number for each of `kind`, `calm`, none below 0 and not all 0
    ");
}

/// Rows with the scores of `shift` more than another's, in either order.
fn scored(shift: f64, row: usize) -> Value {
    let texts = [
        format!("A kind answer {row}."),
        format!("ZXQ! {row}"),
        "Hm.".to_owned(),
    ];
    let scores = [2.0 + shift, shift, 1.0 + shift];
    json!({"prompt": format!("Ask {row}"), "responses": texts, "scores": scores})
}

/// The published code divides by the largest score and takes what is below zero
/// for padding: there, the second of these trains on nothing, or the wrong way.
#[test]
fn negative_scores_are_just_scores() {
    let bench = Bench::new();
    let rows = |shift: f64| -> Vec<Value> { (0..12).map(|row| scored(shift, row)).collect() };
    for (name, shift) in [("above", 4.0), ("across", -1.0), ("below", -16.0)] {
        for scale in ["none", "max"] {
            let settings = json!({"score_scale": scale, "steps": 20});
            let metrics = run(&job(
                &bench,
                &format!("{name}-{scale}"),
                &[("kind", &rows(shift))],
                settings,
            ));
            // Three responses are three pairs: none is cut.
            assert_eq!(metrics["pairs"], 36);
            assert!(metrics["final_loss"].as_f64().unwrap() < 0.6, "{metrics:?}");
            assert_same_model(&bench, "above-none", &format!("{name}-{scale}"));
        }
    }
}

#[test]
fn the_first_two_responses_are_taken_only_when_asked_for() {
    let bench = Bench::new();
    let rows: Vec<Value> = (0..12).map(|row| scored(0.0, row)).collect();
    let metrics = run(&job(
        &bench,
        "two",
        &[("kind", &rows)],
        json!({"pairs": "first-two"}),
    ));
    assert_eq!(metrics["pairs"], 12);
    let cut: Vec<Value> = rows
        .iter()
        .cloned()
        .map(|mut row| {
            row["responses"].as_array_mut().unwrap().truncate(2);
            row["scores"].as_array_mut().unwrap().truncate(2);
            row
        })
        .collect();
    run(&job(&bench, "cut", &[("kind", &cut)], json!({})));
    assert_same_model(&bench, "two", "cut");
}

#[test]
fn ties_are_skipped_and_counted_or_count_half() {
    let bench = Bench::new();
    let mut rows: Vec<Value> = (0..10).map(|row| scored(0.0, row)).collect();
    for row in &mut rows[..4] {
        row["scores"] = json!([1.0, 1.0, 1.0]);
    }
    let run = |name: &str, settings: Value| run(&job(&bench, name, &[("kind", &rows)], settings));
    let skipped = run("skipped", json!({}));
    assert_eq!(
        (&skipped["pairs"], &skipped["dropped"]["tied"]),
        (&json!(18), &json!(4))
    );
    let half = run("half", json!({"ties": "half"}));
    assert_eq!(
        (&half["pairs"], &half["dropped"]["tied"]),
        (&json!(30), &json!(0))
    );
    // Scores 2, 0, 1: with a noise of 1 only the first pair is decided.
    let noisy = run("noisy", json!({"noise_margin": 1.0}));
    assert_eq!(
        (&noisy["pairs"], &noisy["dropped"]["tied"]),
        (&json!(6), &json!(4))
    );
}

/// The published pooling looks for the end of a text by the ids of its tokens,
/// and in one tokenizer a quotation mark has the id of the padding.
#[test]
fn a_quotation_mark_with_the_id_of_the_padding_moves_no_reward() {
    let bench = Bench::new();
    let quoted = bench.model("quoted");
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "\""});
    write_json(&quoted.join("tokenizer_config.json"), &config);
    let row = |i: usize| {
        json!({
            "prompt": format!("Say \"{i}\""),
            "chosen": format!("He said \"{i}\""),
            "rejected": format!("\"\"\"{i}\"\" no\""),
        })
    };
    let rows: Vec<Value> = (0..8).map(row).collect();
    for pooling in ["last", "eos", "mean", "max"] {
        let train = |name: &str, model: &Path| {
            let name = format!("{name}-{pooling}");
            let mut job = job(
                &bench,
                &name,
                &[("kind", &rows)],
                json!({"pooling": pooling}),
            );
            job.inputs[0].path = model.to_owned();
            run(&job);
            history(&bench, &name)
        };
        let plain = train("plain", &bench.path("model"));
        assert_eq!(plain, train("quoted", &quoted), "{pooling}");
        assert_ne!(plain[0].values["reward_std"], 0.0);
    }
}
