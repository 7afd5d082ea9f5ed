//! `import`, and files of responses made elsewhere.

use std::fs;

use serde_json::{Value, json};

use super::fixture::Toy;

const RAW: &str = r#"{"question": {"full_text": "Why?"}, "answer_0": "So.", "answer_1": "No.", "score_0": -1, "score_1": 1}
{"question": {"full_text": "When?"}, "answer_0": "", "answer_1": "No.", "score_0": 0.5, "score_1": 0}
{"question": {"full_text": "Who?"}, "answer_0": "She.", "answer_1": "He.", "score_0": 0, "score_1": 0}
"#;

fn toy() -> Toy {
    let toy = Toy::new();
    toy.write("raw.jsonl", RAW);
    toy
}

fn rows(toy: &Toy, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(toy.path(name)).expect("rows");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_raw_set_is_imported_and_what_was_left_out_is_told() {
    let toy = toy();
    let arguments = [
        "import",
        "raw.jsonl",
        "-o",
        "rows.jsonl",
        "--max-bad-share",
        "0.5",
    ];
    insta::assert_snapshot!(toy.run(&arguments).snapshot());
    let rows = rows(&toy, "rows.jsonl");
    let why = json!([{"role": "user", "content": "Why?"}]);
    assert_eq!(
        rows[0],
        json!({"prompt": why, "chosen": "No.", "rejected": "So."})
    );
    assert_eq!(rows[1]["scores"], json!([0.0, 0.0]));
    // Nothing is written over.
    let again = toy.run(&arguments);
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(again.err.contains("rows.jsonl: it exists"), "{}", again.err);
}

#[test]
fn too_many_bad_rows_write_nothing() {
    let toy = toy();
    let said = toy.run(&["import", "raw.jsonl", "-o", "rows.jsonl"]);
    insta::assert_snapshot!(said.snapshot());
    let left = fs::read_dir(toy.path(".")).expect("a directory").flatten();
    let names: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().contains("import")),
        "{names:?}"
    );
    assert!(!toy.path("rows.jsonl").exists());
}

#[test]
fn the_command_says_the_same_as_json_and_as_the_stage() {
    let toy = toy();
    let arguments = [
        "import",
        "raw.jsonl",
        "-o",
        "rows.jsonl",
        "--format",
        "webgpt",
    ];
    let (said, code) = toy.json(&[&arguments[..], &["--max-bad-share", "0.5", "--json"]].concat());
    assert_eq!(code, 0);
    assert_eq!(said["problems"][0]["line"], 2);
    toy.write(
        "import.toml",
        "[data.raw]\npath = \"raw.jsonl\"\n[stage.pairs]\nkind = \"import\"\ndata = \"raw\"\nmax_bad_share = 0.5\n",
    );
    let (run, code) = toy.json(&["run", "import.toml", "--json"]);
    assert_eq!(code, 0, "{run}");
    let (shown, _) = toy.json(&["show", "import.toml", "pairs", "--json"]);
    let metrics = &shown["metrics"];
    for (name, value) in metrics.as_object().expect("metrics") {
        assert_eq!(*value, said[name], "{name}");
    }
    assert_eq!(metrics["format"], "webgpt");
    let exported = toy.run(&["export", "import.toml", "pairs", "out"]);
    assert_eq!(exported.code, 0, "{}", exported.err);
    assert_eq!(rows(&toy, "out/pairs.jsonl"), rows(&toy, "rows.jsonl"));
}

#[test]
fn files_of_the_hub_need_a_digest() {
    let toy = toy();
    let source = "hf:datasets/org/set@main/rows.jsonl";
    let said = toy.run(&["import", source, "-o", "rows.jsonl"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("needs --sha256"), "{}", said.err);
    let said = toy.run(&["import", "hf:org/set", "-o", "rows.jsonl", "--json"]);
    assert_eq!(said.code, 2);
    assert!(said.out.contains("hf:datasets/ORG/NAME"), "{}", said.out);
    let wrong = "0".repeat(64);
    let said = toy.run(&[
        "import",
        "raw.jsonl",
        "-o",
        "rows.jsonl",
        "--sha256",
        &wrong,
    ]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("the SHA-256 of raw.jsonl is"),
        "{}",
        said.err
    );
}

/// Samples in the published form are scored, selected from and judged, and what
/// was scored goes back into it.
#[test]
fn published_responses_go_in_and_out() {
    let toy = toy();
    let text = fs::read_to_string(toy.path("toy.toml")).expect("the experiment");
    let samples = "[stage.sample]\nkind = \"generate\"\nmodel = \"base\"\nprompts = \"questions\"\nsamples = 2\n";
    let text = text.replace(samples, "[responses.sample]\npath = \"samples.json\"\n");
    let chosen = "[responses.other]\npath = \"scored.jsonl\"\n[stage.other-best]\nkind = \"select\"\nresponses = \"other\"\n";
    toy.write("toy.toml", &format!("{text}{chosen}"));
    toy.write(
        "samples.json",
        r#"[{"query": "Say hello.", "sample_0": "Hello.", "sample_1": "No."}]"#,
    );
    toy.write(
        "scored.jsonl",
        r#"{"texts": ["q<sep>worse", "q<sep>better"], "scores": [-2, -1]}"#,
    );
    let said = toy.run(&["run", "toy.toml"]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let best = toy.run(&["export", "toy.toml", "other-best", "best"]);
    assert_eq!(best.code, 0, "{}", best.err);
    assert_eq!(rows(&toy, "best/examples.jsonl")[0]["response"], "better");
    let said = toy.run(&["export", "toy.toml", "scored", "out", "--published"]);
    assert_eq!(
        (said.code, &*said.out),
        (0, "out/responses.jsonl\nout/published.jsonl\n")
    );
    let query = "\n\nHuman: Say hello.\n\nAssistant:";
    let texts = [format!("{query}<sep> Hello."), format!("{query}<sep> No.")];
    assert_eq!(
        rows(&toy, "out/published.jsonl"),
        [json!({"texts": texts, "scores": [1.5, -0.5]})]
    );
    let said = toy.run(&["export", "toy.toml", "best", "other", "--published"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("the stage gives no responses"),
        "{}",
        said.err
    );
}

#[test]
fn responses_that_are_not_what_they_should_be_stop_a_run_before_it_starts() {
    let toy = toy();
    toy.write(
        "bad.toml",
        "[responses.mine]\npath = \"mine.jsonl\"\n[stage.best]\nkind = \"select\"\nresponses = \"mine\"\n",
    );
    toy.write(
        "mine.jsonl",
        "{\"text\": \"what is <sep>?<sep>a border\", \"score\": 1}\n",
    );
    let said = toy.run(&["run", "bad.toml"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("mine.jsonl: line 1"), "{}", said.err);
    toy.write("mine.jsonl", "{\"query\": \"q\", \"sample_0\": \"a\"}\n");
    let said = toy.run(&["run", "bad.toml"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("have no score"), "{}", said.err);
}
