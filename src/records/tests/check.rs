use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::config::{Experiment, ModelDecl, ModelSource, RowsDecl, StageDecl};

fn rows(path: &Path, limit: Option<u64>) -> RowsDecl {
    RowsDecl {
        path: path.to_owned(),
        rows: RowRange { offset: 0, limit },
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
    let problems = check_inputs(&experiment);
    let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let dir = format!("{}/", dir.path().display());
    insta::assert_snapshot!(shown.join("\n").replace(&dir, ""));
}
