//! Reasons to run again, and reasons not to: one line each.

use std::fs;
use std::time::{Duration, SystemTime};

use moreline::config::{ModelSource, Site};
use moreline::digest::{Canonical, Digest};
use moreline::plan::{InputLabel, KeyInput, stage_key};
use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::StageKind;
use serde_json::json;

use super::fixture::{Fixture, stage, states};

/// What is changed of an experiment.
enum Change {
    /// A field of a stage, to this JSON.
    Set(&'static str, &'static str, &'static str),
    Do(fn(&mut Fixture)),
}

use Change::{Do, Set};

/// A change, and the stages that a run computes after it. The worker's outputs
/// depend on all it is given, so what follows runs too.
type Reason = (&'static str, Change, &'static [&'static str]);

const ALL: &[&str] = &["rm", "eval", "gen", "scored", "best"];
const FROM_RM: &[&str] = &["rm", "eval", "scored", "best"];
const FROM_GEN: &[&str] = &["gen", "scored", "best"];
const FROM_SCORED: &[&str] = &["scored", "best"];

const REASONS: [Reason; 14] = [
    ("a parameter", Set("rm", "lr", "2e-5"), FROM_RM),
    ("one at the end", Set("best", "k", "2"), &["best"]),
    ("a seed", Set("gen", "seed", "7"), FROM_GEN),
    (
        "precision",
        Set("scored", "precision", "\"fp32\""),
        FROM_SCORED,
    ),
    ("the template", Set("gen", "template", "\"raw\""), FROM_GEN),
    ("truncation", Set("rm", "max_length", "64"), FROM_RM),
    (
        "another model",
        Set("scored", "model", "\"base\""),
        FROM_SCORED,
    ),
    ("a byte of data", Do(flip_data), FROM_RM),
    ("a byte of prompts", Do(flip_prompts), FROM_GEN),
    ("a byte of a model", Do(flip_model), ALL),
    ("other rows", Do(fewer_rows), &["gen"]),
    ("a set's name, which results show", Do(rename_set), FROM_RM),
    ("another kind", Do(another_kind), &["eval"]),
    ("a result that is gone", Do(lose_result), &["gen"]),
];

const NO_REASONS: [Reason; 18] = [
    ("nothing", Do(|_| {}), &[]),
    (
        "one name in a list",
        Set("rm", "data", "[\"helpful\"]"),
        &[],
    ),
    ("checkpoints", Set("rm", "checkpoint_every", "7"), &[]),
    ("recomputing", Set("rm", "recompute_every", "2"), &[]),
    ("a renamed stage", Do(rename_stage), &[]),
    ("a renamed model", Do(rename_model), &[]),
    ("a moved file", Do(move_file), &[]),
    ("a touched file", Do(touch), &[]),
    ("the same bytes anew", Do(rewrite), &[]),
    ("all rows, said so", Do(all_rows), &[]),
    (
        "the title",
        Do(|f| f.experiment.title = Some("t".into())),
        &[],
    ),
    ("the name", Do(|f| f.experiment.name = "other".into()), &[]),
    (
        "the path",
        Do(|f| f.experiment.path = f.path("o.toml")),
        &[],
    ),
    ("the order", Do(|f| f.experiment.stages.reverse()), &[]),
    ("more devices", Do(more_devices), &[]),
    ("threads", Do(|f| f.site.threads = Some(3)), &[]),
    ("token budget", Do(|f| f.site.token_budget = Some(9)), &[]),
    ("curves", Do(|f| f.site.tensorboard = Some(false)), &[]),
];

/// Runs with a cache that has everything, changes something, and runs again.
/// That the first run computes nothing shows that paths do not count.
fn check(reasons: &[Reason]) {
    let base = Fixture::new();
    assert!(base.run().is_complete());
    for (what, change, expected) in reasons {
        let mut fixture = Fixture::new();
        fixture.site = Site {
            cache: Some(base.cache()),
            ..fixture.site.clone()
        };
        assert_eq!(ran(&fixture), [""; 0], "before {what}");
        match change {
            Set(stage, field, json) => fixture.set(stage, field, json.parse().unwrap()),
            Do(change) => change(&mut fixture),
        }
        assert_eq!(ran(&fixture), *expected, "after {what}");
        // A result that is made anew is the same again.
        assert_eq!(ran(&fixture), [""; 0], "long after {what}");
    }
}

fn ran(fixture: &Fixture) -> Vec<String> {
    let summary = fixture.run();
    assert!(summary.is_complete(), "{summary:#?}");
    let mut ran: Vec<_> = states(&summary)
        .into_iter()
        .filter_map(|state| Some(state.strip_suffix("=ran")?.to_owned()))
        .collect();
    ran.sort_by_key(|name| ALL.iter().position(|known| known == name));
    ran
}

#[test]
fn every_reason_to_run_again() {
    check(&REASONS);
}

#[test]
fn every_reason_not_to() {
    check(&NO_REASONS);
}

fn flip(fixture: &Fixture, name: &str) {
    let mut bytes = fs::read(fixture.path(name)).unwrap();
    bytes[0] ^= 1;
    fs::write(fixture.path(name), bytes).unwrap();
}

fn flip_data(fixture: &mut Fixture) {
    flip(fixture, "helpful.jsonl");
}

fn flip_prompts(fixture: &mut Fixture) {
    flip(fixture, "prompts.jsonl");
}

fn flip_model(fixture: &mut Fixture) {
    flip(fixture, "model.gguf");
}

fn limit_rows(fixture: &mut Fixture, limit: Option<u64>) {
    let questions = fixture.experiment.prompts.get_mut("questions").unwrap();
    questions.rows.limit = limit;
}

fn fewer_rows(fixture: &mut Fixture) {
    limit_rows(fixture, Some(1));
}

fn all_rows(fixture: &mut Fixture) {
    limit_rows(fixture, None);
}

fn lose_result(fixture: &mut Fixture) {
    fs::remove_file(fixture.object("gen", "fed.jsonl")).unwrap();
}

fn more_devices(fixture: &mut Fixture) {
    fixture.site.devices = vec!["cuda:0".into(), "cuda:1".into()];
}

fn rename_set(fixture: &mut Fixture) {
    let rows = fixture.experiment.data.remove("helpful").unwrap();
    fixture.experiment.data.insert("kind".into(), rows);
    fixture.set("rm", "data", json!("kind"));
    fixture.set("eval", "data", json!("kind"));
}

fn another_kind(fixture: &mut Fixture) {
    let perplexity = json!({"kind": "perplexity", "model": "base", "data": "questions"});
    fixture.stage_mut("eval").spec = stage("eval", perplexity).spec;
}

fn rename_stage(fixture: &mut Fixture) {
    fixture.stage_mut("rm").name = "reward".into();
    fixture.set("eval", "model", json!("reward"));
    fixture.set("scored", "model", json!("reward"));
}

fn rename_model(fixture: &mut Fixture) {
    let model = fixture.experiment.models.remove("base").unwrap();
    fixture.experiment.models.insert("smol".into(), model);
    fixture.set("rm", "model", json!("smol"));
    fixture.set("gen", "model", json!("smol"));
}

fn move_file(fixture: &mut Fixture) {
    let to = fixture.path("elsewhere.jsonl");
    fs::rename(fixture.path("helpful.jsonl"), &to).unwrap();
    fixture.experiment.data.get_mut("helpful").unwrap().path = to;
    let to = fixture.path("other.gguf");
    fs::rename(fixture.path("model.gguf"), &to).unwrap();
    let base = fixture.experiment.models.get_mut("base").unwrap();
    base.source = ModelSource::Path(to);
}

fn touch(fixture: &mut Fixture) {
    for name in ["helpful.jsonl", "prompts.jsonl", "model.gguf"] {
        let file = fs::File::options().append(true).open(fixture.path(name));
        let time = SystemTime::now() + Duration::from_secs(60);
        file.unwrap().set_modified(time).unwrap();
    }
}

fn rewrite(fixture: &mut Fixture) {
    let path = fixture.path("helpful.jsonl");
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(path, bytes).unwrap();
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
fn changed_data_is_named_as_the_reason() {
    let fixture = Fixture::new();
    fixture.run();
    fs::write(fixture.path("helpful.jsonl"), "{}\n").unwrap();
    assert_eq!(fixture.why("rm"), "data `helpful` changed");
}

#[test]
fn a_model_directory_is_known_by_the_files_that_count() {
    let model = |f: &Fixture| f.path("hf");
    let mut fixture = Fixture::new();
    fs::create_dir(model(&fixture)).unwrap();
    fs::write(model(&fixture).join("config.json"), "{}").unwrap();
    fs::write(model(&fixture).join("model.safetensors"), "w").unwrap();
    let source = ModelSource::Path(model(&fixture));
    fixture.experiment.models.get_mut("base").unwrap().source = source;
    assert!(fixture.run().is_complete());
    fs::write(model(&fixture).join("README.md"), "notes").unwrap();
    assert!(fixture.planned().iter().all(|s| s.ends_with("=cached")));
    fs::write(model(&fixture).join("model.safetensors"), "v").unwrap();
    assert_eq!(fixture.planned()[0], "rm=run");
}

/// A key from its parts, as the rules say: a raised version is another key.
#[test]
fn the_version_of_a_kind_is_part_of_its_keys() {
    let select = stage("s", json!({"kind": "select", "responses": "r"})).spec;
    let by_hand = |version: u64| {
        let mut key = Canonical::new("moreline stage key 1");
        let parameters = json!({"strategy": "best-of-n", "k": 1, "drop_unfinished": false});
        key.str("select").u64(version).json(&parameters).u64(0);
        key.finish()
    };
    let version = u64::from(StageKind::Select.version());
    assert_eq!(stage_key(&select, &[]).0, by_hand(version));
    assert_ne!(stage_key(&select, &[]).0, by_hand(version + 1));
}

/// Where a judge is reached is the site's; which judge it is, is not.
#[test]
fn the_endpoint_is_no_reason_and_the_judge_is_one() {
    let key = |endpoint: &str, judge: &str| {
        let spec = json!({"kind": "judge", "a": "a", "b": "b", "endpoint": endpoint,
                          "judge_model": judge});
        stage_key(&stage("s", spec).spec, &[])
    };
    assert_eq!(key("here", "large"), key("there", "large"));
    assert_ne!(key("here", "large"), key("here", "small"));
}

/// The key of every kind with its defaults and inputs of known bytes: a change
/// here discards every cache, and needs a new version of the encoding.
#[test]
fn keys_are_pinned() {
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
    train-reward ab4d337772b1
    evaluate-reward 961e3029cb29
    generate 86f561c538b4
    score 4aa142c02483
    select 039e389c241a
    sft 10572f4d52a1
    perplexity f85d91b30def
    judge 992eb1763f6f
    import e6a79b7c24ff
    ");
}
