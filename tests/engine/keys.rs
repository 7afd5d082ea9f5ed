//! Reasons to run again, and reasons not to.

use std::fs;

use moreline::config::Site;
use moreline_protocol::spec::StageKind;
use serde_json::json;

use super::fixture::{Fixture, stage, states};

/// Stages that a run after a change computes.
fn recomputed(change: impl FnOnce(&mut Fixture)) -> Vec<String> {
    let mut fixture = Fixture::new();
    assert!(fixture.run().is_complete());
    change(&mut fixture);
    let summary = fixture.run();
    let ran = states(&summary).into_iter();
    ran.filter_map(|state| Some(state.strip_suffix("=ran")?.to_owned()))
        .collect()
}

#[test]
fn a_parameter_is_a_reason() {
    let ran = recomputed(|f| f.set("scored", "precision", json!("fp32")));
    assert_eq!(ran, ["scored", "best"]);
}

#[test]
fn a_parameter_is_named_as_the_reason() {
    let mut fixture = Fixture::new();
    fixture.run();
    fixture.set("rm", "lr", json!(2e-5));
    assert_eq!(fixture.why("rm"), "`lr` changed from 1e-5 to 2e-5");
    assert_eq!(fixture.why("eval"), "depends on rm");
}

#[test]
fn other_bytes_are_a_reason() {
    let ran = recomputed(|f| fs::write(f.path("prompts.jsonl"), "{}\n").unwrap());
    assert_eq!(ran, ["gen", "scored", "best"]);
}

#[test]
fn changed_data_is_named_as_the_reason() {
    let fixture = Fixture::new();
    fixture.run();
    fs::write(fixture.path("helpful.jsonl"), "{}\n").unwrap();
    assert_eq!(fixture.why("rm"), "data `helpful` changed");
}

#[test]
fn other_rows_are_a_reason() {
    let ran = recomputed(|f| {
        f.experiment
            .prompts
            .get_mut("questions")
            .unwrap()
            .rows
            .limit = Some(1);
    });
    assert_eq!(ran, ["gen"]);
}

#[test]
fn the_name_of_a_set_is_a_reason_because_results_show_it() {
    let ran = recomputed(|f| {
        let rows = f.experiment.data.remove("helpful").unwrap();
        f.experiment.data.insert("kind".into(), rows);
        f.set("rm", "data", json!("kind"));
        f.set("eval", "data", json!("kind"));
    });
    assert_eq!(ran[..2], ["rm", "eval"]);
}

#[test]
fn a_renamed_stage_is_no_reason() {
    let ran = recomputed(|f| {
        f.stage_mut("rm").name = "reward".into();
        f.set("eval", "model", json!("reward"));
        f.set("scored", "model", json!("reward"));
    });
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn a_renamed_model_and_a_title_are_no_reason() {
    let ran = recomputed(|f| {
        let model = f.experiment.models.remove("base").unwrap();
        f.experiment.models.insert("smol".into(), model);
        f.set("rm", "model", json!("smol"));
        f.set("gen", "model", json!("smol"));
        f.experiment.title = Some("another".into());
    });
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn the_order_of_stages_is_no_reason() {
    let ran = recomputed(|f| f.experiment.stages.reverse());
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn a_touched_file_is_no_reason() {
    let ran = recomputed(|f| {
        let file = fs::File::options()
            .append(true)
            .open(f.path("helpful.jsonl"));
        let time = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        file.unwrap().set_modified(time).unwrap();
    });
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn a_moved_file_is_no_reason() {
    let ran = recomputed(|f| {
        let to = f.path("elsewhere.jsonl");
        fs::rename(f.path("helpful.jsonl"), &to).unwrap();
        f.experiment.data.get_mut("helpful").unwrap().path = to;
    });
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn the_machine_is_no_reason() {
    let ran = recomputed(|f| {
        f.site = Site {
            devices: vec!["cuda:0".into(), "cuda:1".into()],
            threads: Some(3),
            token_budget: Some(128),
            ..f.site.clone()
        };
        f.set("rm", "checkpoint_every", json!(7));
    });
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn one_name_and_a_list_of_one_name_are_the_same() {
    let ran = recomputed(|f| f.set("rm", "data", json!(["helpful"])));
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn an_experiment_of_another_name_shares_results() {
    let ran = recomputed(|f| {
        f.experiment.path = f.path("other.toml");
        f.experiment.name = "other".into();
    });
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn a_model_directory_is_known_by_the_files_that_count() {
    let model = |f: &Fixture| f.path("hf");
    let mut fixture = Fixture::new();
    fs::create_dir(model(&fixture)).unwrap();
    fs::write(model(&fixture).join("config.json"), "{}").unwrap();
    fs::write(model(&fixture).join("model.safetensors"), "w").unwrap();
    let source = moreline::config::ModelSource::Path(model(&fixture));
    fixture.experiment.models.get_mut("base").unwrap().source = source;
    assert!(fixture.run().is_complete());
    fs::write(model(&fixture).join("README.md"), "notes").unwrap();
    assert!(fixture.planned().iter().all(|s| s.ends_with("=cached")));
    fs::write(model(&fixture).join("model.safetensors"), "v").unwrap();
    assert_eq!(fixture.planned()[0], "rm=run");
}

/// The key of every kind with its defaults and inputs of known bytes: a change
/// here discards every cache, and needs a new version of the encoding.
#[test]
fn keys_are_pinned() {
    use moreline::digest::Digest;
    use moreline::plan::{InputLabel, KeyInput, stage_key};
    use moreline_protocol::artifact::ArtifactType;
    use moreline_protocol::job::RowRange;
    let label = InputLabel::Named("helpful".into());
    let input = KeyInput {
        role: "data",
        artifact: ArtifactType::Preferences,
        digest: Digest::of(b"rows"),
        rows: RowRange {
            offset: 1,
            limit: Some(9),
        },
        label: &label,
    };
    let specs = [
        json!({"kind": "train-reward", "model": "m", "data": "d"}),
        json!({"kind": "evaluate-reward", "model": "m", "data": "d"}),
        json!({"kind": "generate", "model": "m", "prompts": "p"}),
        json!({"kind": "score", "model": "m", "responses": "r"}),
        json!({"kind": "select", "responses": "r"}),
        json!({"kind": "sft", "model": "m", "data": "d"}),
        json!({"kind": "perplexity", "model": "m", "data": "d"}),
        json!({"kind": "judge", "a": "a", "b": "b"}),
        json!({"kind": "import", "data": "d"}),
    ];
    let keys: Vec<_> = specs
        .into_iter()
        .zip(StageKind::ALL)
        .map(|(spec, kind)| {
            let spec = stage("s", spec).spec;
            assert_eq!(spec.kind(), kind);
            let key = stage_key(&spec, std::slice::from_ref(&input));
            format!("{} {}", kind.name(), key.0.short())
        })
        .collect();
    insta::assert_snapshot!(keys.join("\n"), @r"
    train-reward 8381ea741e3a
    evaluate-reward 961e3029cb29
    generate 2225252d78f7
    score 4aa142c02483
    select 039e389c241a
    sft c50b92221c3d
    perplexity f85d91b30def
    judge 992eb1763f6f
    import e6a79b7c24ff
    ");
}
