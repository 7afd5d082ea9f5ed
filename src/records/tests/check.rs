use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::config::{Experiment, ModelDecl, ModelSource, RowsDecl, StageDecl};
use crate::engine::NothingKnown;

fn rows(path: &Path, limit: Option<u64>) -> RowsDecl {
    RowsDecl {
        path: path.to_owned(),
        rows: RowRange { offset: 0, limit },
        ..RowsDecl::default()
    }
}

fn stage(name: &str, spec: Value) -> StageDecl {
    StageDecl {
        name: name.into(),
        base: name.into(),
        cell: Vec::new(),
        spec: serde_json::from_value(spec).unwrap(),
    }
}

#[test]
fn every_bad_input_is_found_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let pair = "{\"text\": [\"a\", \"b\"], \"score\": [1, 0]}\n";
    let tied = "{\"text\": [\"a\", \"b\"], \"score\": [1, 1]}\n";
    let good = file("good.jsonl", &format!("{pair}{{torn\n"));
    let tied = file("tied.jsonl", tied);
    let prompts = file("prompts.jsonl", "\"a question without an answer\"\n");
    let raw = file("raw.jsonl", "{\"chosen\": \"a\", \"rejected\": \"b\"}\n");
    let model = file("model.gguf", "GGUF");
    let experiment = Experiment {
        path: dir.path().join("e.toml"),
        name: "e".into(),
        title: None,
        models: BTreeMap::from([(
            "lm".into(),
            ModelDecl {
                source: ModelSource::Path(model),
            },
        )]),
        data: BTreeMap::from([
            ("good".into(), rows(&good, Some(1))),
            ("torn".into(), rows(&good, None)),
            ("tied".into(), rows(&tied, None)),
            ("raw".into(), rows(&raw, None)),
            ("missing".into(), rows(&dir.path().join("none.json"), None)),
        ]),
        prompts: BTreeMap::from([("ask".into(), rows(&prompts, None))]),
        responses: BTreeMap::new(),
        stages: vec![
            stage(
                "rm",
                json!({"kind": "train-reward", "model": "lm", "data": ["good", "tied", "missing"]}),
            ),
            stage(
                "ev",
                json!({"kind": "evaluate-reward", "model": "rm", "data": ["tied", "torn"]}),
            ),
            stage(
                "gen",
                json!({"kind": "generate", "model": "lm", "prompts": "ask"}),
            ),
            stage("tune", json!({"kind": "sft", "model": "lm", "data": "ask"})),
            stage("imp", json!({"kind": "import", "data": "raw"})),
        ],
        smoke: false,
    };
    let problems = check_inputs(&experiment, &NothingKnown);
    let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let dir = format!("{}/", dir.path().display());
    insta::assert_snapshot!(shown.join("\n").replace(&dir, ""));
}

/// What is said of stages that train parts which the model does not have.
#[test]
fn parts_that_a_model_does_not_have_are_found_before_anything_runs() {
    let models =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/moreline-worker/tests/golden/models");
    let model = |name: &str| ModelDecl {
        source: ModelSource::Path(models.join(name)),
    };
    let train = |name: &str, kind: &str, model: &str, part: Value| {
        let mut spec = json!({"kind": kind, "model": model, "data": "none"});
        for (key, value) in part.as_object().unwrap() {
            spec[key] = value.clone();
        }
        stage(name, spec)
    };
    let lora = |target: &str| json!({"lora": {"rank": 4, "alpha": 8, "targets": [target]}});
    let experiment = Experiment {
        path: "e.toml".into(),
        name: "e".into(),
        title: None,
        models: BTreeMap::from([
            ("llama".into(), model("llama-gqa-tied")),
            ("neox".into(), model("pythia-parallel")),
        ]),
        data: BTreeMap::new(),
        prompts: BTreeMap::new(),
        responses: BTreeMap::new(),
        stages: vec![
            train("a", "train-reward", "llama", lora("qkv")),
            train("b", "sft", "neox", lora("gate")),
            train("c", "sft", "llama", json!({"train_blocks": 0})),
            train(
                "fine-a",
                "train-reward",
                "llama",
                json!({"train_blocks": 0}),
            ),
            train("fine-b", "sft", "neox", json!({"train_blocks": 0})),
            train("fine-c", "sft", "neox", lora("qkv")),
        ],
        smoke: false,
    };
    let problems = check_inputs(&experiment, &NothingKnown);
    // These models come without tokenizers, which is said as well.
    let parts = problems.iter().map(ToString::to_string);
    let shown: Vec<_> = parts.filter(|said| said.starts_with("train")).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    train `a`: a Llama model has no matrix `qkv` to adapt (its `targets` are `q`, `k`, `v`, `o`, `gate`, `up`, `down`)
    train `b`: a GPTNeoX model has no matrix `gate` to adapt (its `targets` are `qkv`, `o`, `up`, `down`)
    train `c`: `train_blocks = 0` trains the head alone, but this head is the embedding (set it to 1 or more, or use `lora`)
    ");
}

#[test]
fn responses_made_elsewhere_are_checked_for_the_models_that_take_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.jsonl");
    let dialogue = "{\"query\": \"\\n\\nHuman: q\\n\\nAssistant:\", \"sample_0\": \" a\"}\n";
    let twice = "{\"query\": \"a <sep> b\", \"sample_0\": \"a\", \"sample_2\": \"b\"}\n";
    let check = |content: &str, template: &str| {
        fs::write(&path, content).unwrap();
        let experiment = Experiment {
            path: dir.path().join("e.toml"),
            name: "e".into(),
            title: None,
            models: BTreeMap::new(),
            data: BTreeMap::new(),
            prompts: BTreeMap::new(),
            responses: BTreeMap::from([("samples".into(), rows(&path, None))]),
            stages: vec![
                stage(
                    "rm",
                    json!({"kind": "train-reward", "model": "lm", "data": "d", "template": template}),
                ),
                stage(
                    "scored",
                    json!({"kind": "score", "model": "rm@step-5", "responses": "samples"}),
                ),
            ],
            smoke: false,
        };
        check_inputs(&experiment, &NothingKnown)
    };
    assert!(check(dialogue, "auto").is_empty());
    let [problem] = &check(dialogue, "raw")[..] else {
        panic!("one problem");
    };
    assert!(problem.message.contains("line 1"), "{problem}");
    assert!(problem.hint.as_ref().unwrap().contains("human-assistant"));
    let [problem] = &check(twice, "auto")[..] else {
        panic!("one problem");
    };
    assert!(
        problem.message.contains("`sample_2` without `sample_1`"),
        "{problem}"
    );
}
