use moreline_formats::rows::{read_examples, read_preferences};
use moreline_protocol::artifact::{EXAMPLES, PAIRS};
use serde_json::json;

use super::*;

const RESPONSES: &str = r#"{"id": 0, "prompt": [{"role": "user", "content": "p"}], "responses": [{"text": "a", "score": 1.0}, {"text": "b", "score": 3.0}, {"text": "c", "score": 3.0, "finish": "length"}, {"text": "d", "score": -2.0}]}
{"id": 1, "prompt": [{"role": "user", "content": "q"}], "responses": [{"text": "e", "score": 0.5, "finish": "length"}, {"text": "f", "score": 0.5}]}
"#;

fn spec(settings: Value) -> StageSpec {
    let mut spec = json!({"kind": "select", "responses": "scored"});
    for (key, value) in settings.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn selected(settings: Value) -> (Vec<String>, Metrics) {
    let (_dir, job) = job("responses", RESPONSES, spec(settings));
    let metrics = run_stage(&job, &|_| {}).unwrap();
    let rows = read_examples(&job.output_dir.join(EXAMPLES), RowRange::default()).unwrap();
    (rows.into_iter().map(|row| row.response).collect(), metrics)
}

#[test]
fn the_best_of_n_is_the_first_among_equals() {
    let (chosen, metrics) = selected(json!({}));
    assert_eq!(chosen, ["b", "e"]);
    assert_eq!(metrics["prompts"], 2);
    assert_eq!(metrics["selected"], 2);
    assert_eq!(metrics["mean_before"], 1.0);
    assert_eq!(metrics["mean_after"], 1.75);
    // Prompt 0 has pairs of maxima 3 3 1 3 3 3, prompt 1 always 0.5.
    let best_of =
        json!([{"n": 1, "expected": 0.875}, {"n": 2, "expected": (16.0 / 6.0 + 0.5) / 2.0}]);
    let found = metrics["best_of"].as_array().unwrap();
    for (found, expected) in found.iter().zip(best_of.as_array().unwrap()) {
        let number = |value: &Value| value["expected"].as_f64().unwrap();
        assert!((number(found) - number(expected)).abs() < 1e-12);
    }
    assert_eq!(found.len(), 2);
}

#[test]
fn top_k_and_threshold_take_several() {
    let (chosen, _) = selected(json!({"strategy": "top-k", "k": 3}));
    assert_eq!(chosen, ["b", "c", "a", "e", "f"]);
    let (chosen, metrics) = selected(json!({"strategy": "threshold", "threshold": 1.0}));
    assert_eq!(chosen, ["a", "b", "c"]);
    assert_eq!(metrics["prompts_without"], 1);
    let (chosen, metrics) = selected(json!({"drop_unfinished": true}));
    assert_eq!(chosen, ["b", "f"]);
    assert_eq!(
        (&metrics["unfinished"], &metrics["mean_before"]),
        (&json!(2), &json!(1.0))
    );
}

#[test]
fn best_and_worst_make_a_preference_set() {
    let (_dir, job) = job(
        "responses",
        RESPONSES,
        spec(json!({"strategy": "best-worst"})),
    );
    let metrics = run_stage(&job, &|_| {}).unwrap();
    assert_eq!(
        (&metrics["selected"], &metrics["tied"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(metrics["mean_rejected"], -2.0);
    let rows = output(&job, PAIRS);
    assert_eq!(
        rows,
        [
            json!({"prompt": [{"role": "user", "content": "p"}], "chosen": "b", "rejected": "d",
            "score_chosen": 3.0, "score_rejected": -2.0})
        ]
    );
    read_preferences(&job.output_dir.join(PAIRS), RowRange::default()).unwrap();
}

#[test]
fn a_limit_counts_prompts() {
    let (chosen, metrics) = selected(json!({"limit": 1}));
    assert_eq!((chosen.len(), &metrics["prompts"]), (1, &json!(1)));
}

#[test]
fn what_cannot_be_selected_from_is_refused() {
    let unscored = RESPONSES.replace(", \"score\": 0.5", "");
    let cases = [
        (unscored.as_str(), json!({})),
        (RESPONSES, json!({"strategy": "threshold"})),
        (
            RESPONSES,
            json!({"strategy": "threshold", "threshold": 4.0}),
        ),
        (
            "{\"id\": 0, \"prompt\": [], \"responses\": [{\"text\": \"a\", \"score\": 1.0}]}",
            json!({"strategy": "best-worst"}),
        ),
        ("{\"id\": 0}", json!({})),
    ];
    let messages = cases.map(|(content, settings)| {
        let (dir, job) = job("responses", content, spec(settings));
        shown(&run_stage(&job, &|_| {}).unwrap_err(), dir.path())
    });
    insta::assert_snapshot!(messages.join("\n\n"));
}
