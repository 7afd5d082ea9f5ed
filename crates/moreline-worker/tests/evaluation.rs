//! `evaluate-reward` and `score`: records, several models, and what is not defined.

use std::path::PathBuf;

use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::event::Metrics;
use moreline_protocol::job::{Input, Job};
use moreline_protocol::rows::{EvaluationRow, FedRow, ResponseRow};
use serde_json::{Value, json};

use crate::tiny::{Bench, clear_pairs, failure, input, preferences, read_rows, run};

/// Two reward models, of one training and its beginning, and two sets.
fn two_models(bench: &Bench) -> [Input; 2] {
    let made = |name: &str, steps: u64, seed: u64| {
        let path = bench.rows(&format!("{name}.jsonl"), &clear_pairs("kind", 12));
        let spec = json!({
            "kind": "train-reward", "model": "base", "data": "kind", "steps": steps, "batch": 8,
            "lr": 2e-3, "max_length": 128, "seed": seed, "precision": "fp32",
        });
        run(&bench.job(name, spec, vec![bench.base(), preferences("kind", &path)]));
        let model: PathBuf = bench.path(&format!("{name}/model"));
        input("model", name, ArtifactType::RewardModel, &model)
    };
    [made("rm-a", 8, 1), made("rm-b", 1, 2)]
}

fn evaluate(bench: &Bench, name: &str, models: &[Input], settings: Value) -> Job {
    let set = |set: &str| {
        let path = bench.rows(&format!("{set}.test.jsonl"), &clear_pairs(set, 10));
        preferences(set, &path)
    };
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let mut spec = json!({
        "kind": "evaluate-reward", "model": names, "data": ["kind", "calm"], "precision": "fp32",
        "resamples": 50,
    });
    for (key, value) in settings.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let inputs = [models, &[set("kind"), set("calm")]].concat();
    bench.job(name, spec, inputs)
}

fn records(bench: &Bench, name: &str) -> Vec<EvaluationRow> {
    read_rows(&bench.path(&format!("{name}/records.jsonl")))
}

fn close(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
}

/// z-scores of some rewards, divisor n - 1.
fn standardised(rewards: &[f64]) -> Vec<f64> {
    let n = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / n;
    let sd = (rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    rewards.iter().map(|r| (r - mean) / sd).collect()
}

fn number(metrics: &Value, path: &str) -> f64 {
    let value = metrics.pointer(path).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no {path} in {metrics:#}"))
}

fn as_value(metrics: Metrics) -> Value {
    Value::Object(metrics)
}

#[test]
fn several_models_are_evaluated_together_and_apart() {
    let bench = Bench::new();
    let [a, b] = two_models(&bench);
    run(&evaluate(
        &bench,
        "only-a",
        std::slice::from_ref(&a),
        json!({}),
    ));
    run(&evaluate(
        &bench,
        "only-b",
        std::slice::from_ref(&b),
        json!({}),
    ));
    let (only_a, only_b) = (records(&bench, "only-a"), records(&bench, "only-b"));
    let both = [a, b];
    for how in ["mean", "min", "standardised-mean"] {
        let metrics = run(&evaluate(&bench, how, &both, json!({ "combine": how })));
        let found = records(&bench, how);
        let metrics = as_value(metrics);
        for (half, set) in ["kind", "calm"].into_iter().enumerate() {
            let rows = half * 10..half * 10 + 10;
            let flat = |rows: &[EvaluationRow]| -> Vec<f64> {
                rows.iter().flat_map(|row| row.rewards.clone()).collect()
            };
            let (ra, rb) = (flat(&only_a[rows.clone()]), flat(&only_b[rows.clone()]));
            let (za, zb) = (standardised(&ra), standardised(&rb));
            let wanted = (0..ra.len()).map(|i| match how {
                "mean" => (ra[i] + rb[i]) / 2.0,
                "min" => ra[i].min(rb[i]),
                _ => (za[i] + zb[i]) / 2.0,
            });
            for (found, wanted) in flat(&found[rows.clone()]).into_iter().zip(wanted) {
                close(found, wanted);
            }
            assert_eq!(found[rows.start].set, set);
            assert_eq!(found[rows.start].models["rm-a"], only_a[rows.start].rewards);
            let accuracy = |rows: &[EvaluationRow]| {
                rows.iter().map(|row| row.pairs[0].correct).sum::<f64>() / rows.len() as f64
            };
            let own = format!("/sets/{set}/models/rm-b/accuracy");
            close(number(&metrics, &own), accuracy(&only_b[rows]));
        }
        let share = number(&metrics, "/pooled/agreement/rm-a ~1 rm-b/share");
        let same = only_a
            .iter()
            .zip(&only_b)
            .filter(|(a, b)| a.pairs[0].correct == b.pairs[0].correct)
            .count();
        close(share, same as f64 / 20.0);
    }
    let fed: Vec<FedRow> = read_rows(&bench.path("mean/fed.jsonl"));
    assert!(fed.iter().any(|row| row.set == "kind (rm-b)"));
}

#[test]
fn records_say_what_each_pair_came_to() {
    let bench = Bench::new();
    let [a, _] = two_models(&bench);
    let metrics = run(&evaluate(
        &bench,
        "evaluate",
        &[a],
        json!({ "bins": [5, 10, 20] }),
    ));
    let found = records(&bench, "evaluate");
    let mut right = 0.0;
    for row in &found {
        let [pair] = row.pairs.as_slice() else {
            panic!("{row:?}");
        };
        assert_eq!((pair.better, pair.worse), (0, 1));
        close(pair.margin, row.rewards[0] - row.rewards[1]);
        close(pair.probability, 1.0 / (1.0 + (-pair.margin).exp()));
        right += pair.correct;
    }
    let metrics = as_value(metrics);
    close(number(&metrics, "/pooled/accuracy"), right / 20.0);
    assert_eq!(number(&metrics, "/pooled/pairs"), 20.0);
    close(
        number(&metrics, "/sets/calm/ece"),
        number(&metrics, "/sets/calm/calibration/uniform-5/ece"),
    );
    assert!(number(&metrics, "/sets/calm/calibration/quantile-20/ece") >= 0.0);
}

fn score_job(bench: &Bench, name: &str, models: &[Input], settings: Value) -> Job {
    let rows: Vec<Value> = (0..3)
        .map(|id| {
            let texts: Vec<Value> = (0..=id)
                .map(|i| json!({"text": format!("answer {i} {id}")}))
                .collect();
            json!({"id": id, "prompt": [{"role": "user", "content": "Ask"}], "responses": texts})
        })
        .collect();
    let path = bench.rows(&format!("{name}.in.jsonl"), &rows);
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let mut spec = json!({"kind": "score", "model": names, "responses": "r", "precision": "fp32"});
    for (key, value) in settings.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let responses = input("responses", "r", ArtifactType::Responses, &path);
    bench.job(name, spec, [models, &[responses]].concat())
}

fn scores(bench: &Bench, name: &str) -> Vec<f64> {
    let rows: Vec<ResponseRow> = read_rows(&bench.path(&format!("{name}/responses.jsonl")));
    let responses = rows.iter().flat_map(|row| &row.responses);
    responses.map(|response| response.score.unwrap()).collect()
}

#[test]
fn several_models_score_together() {
    let bench = Bench::new();
    let both = two_models(&bench);
    for (name, model) in ["one", "two"].into_iter().zip(&both) {
        run(&score_job(
            &bench,
            name,
            std::slice::from_ref(model),
            json!({}),
        ));
    }
    let (one, two) = (scores(&bench, "one"), scores(&bench, "two"));
    let metrics = run(&score_job(&bench, "mean", &both, json!({})));
    for (found, (a, b)) in scores(&bench, "mean").iter().zip(one.iter().zip(&two)) {
        close(*found, (a + b) / 2.0);
    }
    let mean = one.iter().sum::<f64>() / 6.0;
    close(number(&as_value(metrics), "/models/rm-a/mean"), mean);
    let how = json!({ "combine": "standardised-mean" });
    run(&score_job(&bench, "standardised", &both, how));
    let (one, two) = (standardised(&one), standardised(&two));
    for (found, (a, b)) in scores(&bench, "standardised")
        .iter()
        .zip(one.iter().zip(&two))
    {
        close(*found, (a + b) / 2.0);
    }
}

/// A killed stage of several models repeats no finished record of any.
#[test]
fn each_of_several_models_has_a_journal() {
    let bench = Bench::new();
    let both = two_models(&bench);
    run(&score_job(&bench, "whole", &both, json!({})));
    let job = score_job(&bench, "resumed", &both, json!({}));
    // As if the first model had finished one record and the second all, with other numbers.
    let entry = |index: usize, record: Value| json!({"index": index, "record": record});
    let sealed = |entry: &Value| {
        let json = entry.to_string();
        format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()))
    };
    let lines = |entries: &[Value]| entries.iter().map(sealed).collect::<String>();
    std::fs::write(
        job.partial_dir.join("journal-1.jsonl"),
        lines(&[
            entry(0, json!([1.0])),
            entry(1, json!([2.0, 3.0])),
            entry(2, json!([4.0, 5.0, 6.0])),
        ]),
    )
    .unwrap();
    run(&job);
    run(&score_job(&bench, "first", &both[..1], json!({})));
    let second = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    for (i, found) in scores(&bench, "resumed").iter().enumerate() {
        close(*found, (scores(&bench, "first")[i] + second[i]) / 2.0);
    }
}

/// The published code calls a calibration perfect (0.0) that it failed to compute.
#[test]
fn what_is_not_defined_fails_or_is_absent_and_never_zero() {
    let bench = Bench::new();
    let [a, _] = two_models(&bench);
    let one = clear_pairs("kind", 1);
    let job = |name: &str, rows: &[Value]| {
        let path = bench.rows(&format!("{name}.test.jsonl"), rows);
        let spec = json!({"kind": "evaluate-reward", "model": "rm-a", "data": "few"});
        bench.job(name, spec, vec![a.clone(), preferences("few", &path)])
    };
    let found = as_value(run(&job("one", &one)));
    let set = &found["sets"]["few"];
    assert_eq!(set["pairs"], 1);
    assert!(set["temperature"]["undetermined"].is_string(), "{set:#}");
    assert!(set["margins"].get("sd").is_none());
    // One right or wrong pair: its gap is the other outcome's probability, never nothing.
    assert!(number(&found, "/sets/few/ece") > 0.0);
    assert!(number(&found, "/sets/few/mce") > 0.0);
    // The response that a score has no spread of.
    let mut spread = score_job(
        &bench,
        "spread",
        std::slice::from_ref(&a),
        json!({ "limit": 1 }),
    );
    spread.inputs.last_mut().unwrap().rows.limit = Some(1);
    let spread = as_value(run(&spread));
    assert!(
        spread.get("sd").is_none() && spread["mean"].is_number(),
        "{spread:#}"
    );

    insta::assert_snapshot!("an_empty_set", failure(&bench, &job("none", &[])));
    let tie = json!({"text": ["a", "b"], "score": [1, 1]});
    insta::assert_snapshot!("a_set_of_ties", failure(&bench, &job("ties", &[tie])));
}
