//! Results shared through cache layers, and layers that lie, vanish or race.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use moreline::config::{CacheLayer, LayerMode};
use moreline::digest::Digest;
use moreline::engine::{self, Environment, Remote, RunOptions, RunSummary, Selection, Silent};
use moreline::event::RunEvent;
use moreline::store::LayerSecrets;
use serde_json::{Value, json};

use super::fixture::{Fixture, Recorder, Runner, states};

pub(super) const ALL_CACHED: [&str; 5] = [
    "rm=cached",
    "eval=cached",
    "gen=cached",
    "scored=cached",
    "best=cached",
];
pub(super) const SECRET: &str = "do-not-show-this";

/// A machine of its own, with this layer.
pub(super) fn machine(layer: &CacheLayer) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.site.cache_layers = vec![layer.clone()];
    fixture
}

pub(super) fn folder(path: &Path, mode: LayerMode) -> CacheLayer {
    CacheLayer {
        mode,
        ..CacheLayer::at(path.to_str().unwrap())
    }
}

pub(super) fn environment(layers: &[CacheLayer]) -> Environment {
    let lookup = |name: &str| match name {
        "LAYER_ID" => Some("someone".to_owned()),
        "LAYER_SECRET" => Some(SECRET.to_owned()),
        "LAYER_BLANK" => Some(" \n".to_owned()),
        _ => None,
    };
    Environment {
        layer_secrets: LayerSecrets::of(layers, &lookup),
        ..Environment::default()
    }
}

/// Runs, forcing a stage if one is named; the warnings too.
pub(super) fn run(fixture: &Fixture, force: &[&str]) -> (RunSummary, Vec<String>) {
    let options = RunOptions {
        jobs: None,
        selection: Selection {
            force: force.iter().map(|name| (*name).to_owned()).collect(),
            ..Selection::default()
        },
        fail_fast: false,
        cancel: Arc::clone(&fixture.cancel),
        environment: environment(&fixture.site.cache_layers),
        runner: &Runner::default(),
        worker: PathBuf::from("/nowhere"),
    };
    let recorder = Recorder::default();
    let summary = engine::run(&fixture.experiment, &fixture.site, &options, &recorder).unwrap();
    let events = recorder.0.into_inner().unwrap();
    let warning = |event| match event {
        RunEvent::Log { message, .. } if message.contains("cache layer") => Some(message),
        _ => None,
    };
    (summary, events.into_iter().filter_map(warning).collect())
}

/// All files under a directory, by relative path.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() && !path.is_symlink() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Where a folder keeps the object that `machine` has for an output.
fn shared_object(machine: &Fixture, layer: &Path, stage: &str, output: &str) -> PathBuf {
    let object = machine.object(stage, output);
    layer.join(
        object
            .strip_prefix(fs::canonicalize(machine.cache()).unwrap())
            .unwrap(),
    )
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_one_machine_computes_another_fetches() {
    let shared = tempfile::tempdir().unwrap();
    let (first, warnings) = {
        let fixture = machine(&folder(shared.path(), LayerMode::ReadWrite));
        let (_, warnings) = run(&fixture, &[]);
        (fixture, warnings)
    };
    assert_eq!(warnings, [""; 0]);
    let second = machine(&folder(shared.path(), LayerMode::Read));
    let (summary, warnings) = run(&second, &[]);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(states(&summary), ALL_CACHED);
    assert_eq!(second.worked(), [""; 0]);
    let bytes = |fixture: &Fixture| fs::read(fixture.object("best", "examples.jsonl")).unwrap();
    assert_eq!(bytes(&first), bytes(&second));
    let store = engine::store(&second.experiment, &second.site);
    assert_eq!(store.verify_all().unwrap().damaged, []);
    assert!(
        second
            .planned()
            .iter()
            .all(|stage| stage.ends_with("=cached"))
    );
}

#[test]
fn plans_look_into_layers_only_when_asked() {
    let shared = tempfile::tempdir().unwrap();
    run(&machine(&folder(shared.path(), LayerMode::ReadWrite)), &[]);
    let second = machine(&folder(shared.path(), LayerMode::Read));
    assert_eq!(second.planned()[0], "rm=run");
    let remote = Remote::open(&second.site, &Environment::default(), &Silent);
    let selection = Selection::default();
    let plan = engine::plan_selected(&second.experiment, &second.site, &selection, Some(&remote));
    let plan = plan.unwrap();
    assert!(plan.is_complete());
    let why = format!("to be fetched from {}", shared.path().display());
    assert!(plan.stages.iter().all(|stage| stage.why == why), "{plan:?}");
    let view = engine::inspect_with(&second.experiment, &second.site, Some(&remote)).unwrap();
    assert!(view.stages.iter().all(|stage| stage.record.is_some()));
    assert!(!second.cache().join("objects").exists());
}

#[test]
fn a_layer_that_may_only_be_read_gets_nothing() {
    let shared = tempfile::tempdir().unwrap();
    let (summary, _) = run(&machine(&folder(shared.path(), LayerMode::Read)), &[]);
    assert!(summary.is_complete());
    assert!(files(shared.path()).is_empty());
}

#[test]
fn a_damaged_object_is_refused_computed_and_made_good() {
    let shared = tempfile::tempdir().unwrap();
    let first = machine(&folder(shared.path(), LayerMode::ReadWrite));
    run(&first, &[]);
    let object = shared_object(&first, shared.path(), "gen", "responses.jsonl");
    let sound = fs::read(&object).unwrap();
    let mut bytes = sound.clone();
    bytes[3] ^= 1;
    overwrite(&object, &bytes);
    let second = machine(&folder(shared.path(), LayerMode::ReadWrite));
    let (summary, warnings) = run(&second, &[]);
    assert!(summary.is_complete());
    assert_eq!(second.worked(), ["gen"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("is damaged in it; it is not used"),
        "{warnings:?}"
    );
    assert_eq!(fs::read(&object).unwrap(), sound);
    let (summary, warnings) = run(&machine(&folder(shared.path(), LayerMode::Read)), &[]);
    assert_eq!(
        (states(&summary), warnings.len()),
        (ALL_CACHED.map(String::from).into(), 0)
    );
}

#[test]
fn an_object_cut_short_costs_its_own_stage_only() {
    let shared = tempfile::tempdir().unwrap();
    let first = machine(&folder(shared.path(), LayerMode::ReadWrite));
    run(&first, &[]);
    let object = shared_object(&first, shared.path(), "gen", "responses.jsonl");
    for left in [0, 5] {
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        let file = fs::File::options().write(true).open(&object).unwrap();
        file.set_len(left).unwrap();
        let second = machine(&folder(shared.path(), LayerMode::Read));
        let (summary, warnings) = run(&second, &[]);
        assert!(summary.is_complete());
        assert_eq!(second.worked(), ["gen"], "{warnings:?}");
        assert!(warnings[0].contains("has the wrong size"), "{warnings:?}");
    }
}

/// Rewrites the shared record of a stage, its seal too.
fn forge(machine: &Fixture, layer: &Path, stage: &str, change: impl Fn(&mut Value)) {
    let view = engine::inspect(&machine.experiment, &machine.site).unwrap();
    let key = view.stage(stage).unwrap().key.unwrap();
    let path = layer.join(format!("actions/{key}.json"));
    let mut sealed: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut sealed["record"]);
    let record = sealed["record"].to_string();
    let seal = Digest::of(record.as_bytes());
    overwrite(
        &path,
        format!(r#"{{"sha256":"{seal}","record":{record}}}"#).as_bytes(),
    );
}

/// Puts an object into a layer; its digest.
fn plant(layer: &Path, bytes: &[u8]) -> String {
    let digest = Digest::of(bytes).to_string();
    let path = layer.join("objects").join(&digest[..2]).join(&digest[2..]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    digest
}

fn directory(entries: &[(&str, u64, &str)]) -> Vec<u8> {
    let entry = |(path, size, digest): &(&str, u64, &str)| json!({"path": path, "size": size, "digest": digest});
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    // Members in the order in which they are written.
    format!(
        r#"{{"format":"moreline directory 1","entries":{}}}"#,
        Value::from(entries)
    )
    .into()
}

#[test]
fn hostile_records_and_lists_do_no_harm() {
    let shared = tempfile::tempdir().unwrap();
    let layer = shared.path();
    let first = machine(&folder(layer, LayerMode::ReadWrite));
    run(&first, &[]);
    let evil = plant(layer, b"evil");
    let model = |list: &[u8], bytes: u64| {
        let digest = plant(layer, list);
        forge(&first, layer, "rm", |record| {
            record["outputs"]["model"] =
                json!({"form": "directory", "digest": digest, "bytes": bytes});
        });
    };
    let outside = directory(&[("../../../evil", 4, &evil)]);
    let both = directory(&[("a", 4, &evil), ("a/b", 4, &evil)]);
    let huge = directory(&[("a", u64::MAX - 1, &evil)]);
    let longer = directory(&[("a", 5, &evil)]);
    let deep = "[".repeat(100_000);
    let cases: [(&[u8], u64); 5] = [
        (&outside, 4),
        (&both, 8),
        (&huge, u64::MAX - 1),
        (&longer, 5),
        (deep.as_bytes(), 4),
    ];
    for (list, bytes) in cases {
        model(list, bytes);
        refused(layer, "rm");
    }
    forge(&first, layer, "rm", |record| {
        record["outputs"]["../evil.jsonl"] = json!({"form": "file", "digest": evil, "bytes": 4});
    });
    refused(layer, "rm");
    forge(&first, layer, "rm", |record| {
        let outputs = record["outputs"].as_object_mut().unwrap();
        outputs.clear();
    });
    refused(layer, "rm");
}

/// A machine with the layer computes the stage, and nothing lies where it should
/// not; what it was warned of.
fn refused(layer: &Path, stage: &str) -> String {
    let fixture = machine(&folder(layer, LayerMode::Read));
    let (summary, warnings) = run(&fixture, &[]);
    assert!(summary.is_complete(), "{summary:#?}");
    assert_eq!(fixture.worked(), [stage], "{warnings:?}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let names = files(&fixture.path(""));
    let evil = |path: &&PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().contains("evil"))
    };
    assert_eq!(names.iter().find(evil), None);
    warnings.into_iter().next().unwrap()
}

#[test]
fn a_record_of_any_size_is_read_only_so_far() {
    let shared = tempfile::tempdir().unwrap();
    let first = machine(&folder(shared.path(), LayerMode::ReadWrite));
    run(&first, &[]);
    let view = engine::inspect(&first.experiment, &first.site).unwrap();
    let key = view.stage("gen").unwrap().key.unwrap();
    let path = shared.path().join(format!("actions/{key}.json"));
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(1 << 40).unwrap();
    let warning = refused(shared.path(), "gen");
    let object = format!("actions/{key}.json, is larger than");
    assert!(warning.contains(&object), "{warning}");
    let layer = shared.path().display().to_string();
    assert!(warning.contains(&layer), "{warning}");
}

#[test]
fn a_list_of_files_of_any_size_is_read_only_so_far() {
    let shared = tempfile::tempdir().unwrap();
    let first = machine(&folder(shared.path(), LayerMode::ReadWrite));
    run(&first, &[]);
    let digest = Digest::of(b"a list without end").to_string();
    let object = format!("objects/{}/{}", &digest[..2], &digest[2..]);
    let path = shared.path().join(&object);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    forge(&first, shared.path(), "rm", |record| {
        record["outputs"]["model"] = json!({"form": "directory", "digest": digest, "bytes": 4});
    });
    let warning = refused(shared.path(), "rm");
    assert!(
        warning.contains(&format!("{object} is larger than")),
        "{warning}"
    );
}

/// Each list is small enough, all of them together are not.
#[test]
fn lists_of_files_are_read_only_so_far_together() {
    let shared = tempfile::tempdir().unwrap();
    let first = machine(&folder(shared.path(), LayerMode::ReadWrite));
    run(&first, &[]);
    let empty = plant(shared.path(), b"");
    let paths: Vec<String> = (0..60_000).map(|file| format!("{file:06}")).collect();
    let entries: Vec<(&str, u64, &str)> = paths.iter().map(|path| (&**path, 0, &*empty)).collect();
    let list = plant(shared.path(), &directory(&entries));
    let size = directory(&entries).len() as u64;
    let count = (64 << 20) / size + 1;
    forge(&first, shared.path(), "rm", |record| {
        for step in 1..=count {
            record["outputs"][format!("model@step-{step}")] =
                json!({"form": "directory", "digest": list, "bytes": 0});
        }
    });
    let warning = refused(shared.path(), "rm");
    assert!(warning.contains("is larger than"), "{warning}");
}

#[test]
fn two_machines_that_compute_the_same_at_once_both_succeed() {
    let shared = tempfile::tempdir().unwrap();
    let layer = folder(shared.path(), LayerMode::ReadWrite);
    let machines = [machine(&layer), machine(&layer), machine(&layer)];
    std::thread::scope(|scope| {
        for fixture in &machines {
            scope.spawn(|| {
                let (summary, warnings) = run(fixture, &[]);
                assert!(summary.is_complete());
                assert_eq!(warnings, [""; 0]);
            });
        }
    });
    let (summary, _) = run(&machine(&folder(shared.path(), LayerMode::Read)), &[]);
    assert_eq!(states(&summary), ALL_CACHED);
}

#[test]
fn another_result_of_the_same_key_is_told_and_both_keep_theirs() {
    let shared = tempfile::tempdir().unwrap();
    run(&machine(&folder(shared.path(), LayerMode::ReadWrite)), &[]);
    let second = machine(&folder(shared.path(), LayerMode::ReadWrite));
    second.order("const.gen");
    let (_, warnings) = run(&second, &["gen"]);
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("differs in fed.jsonl, responses.jsonl")),
        "{warnings:?}"
    );
    let own = fs::read(second.object("gen", "responses.jsonl")).unwrap();
    assert!(String::from_utf8_lossy(&own).contains("constant"));
    let third = machine(&folder(shared.path(), LayerMode::Read));
    run(&third, &[]);
    let theirs = fs::read(third.object("gen", "responses.jsonl")).unwrap();
    assert!(!String::from_utf8_lossy(&theirs).contains("constant"));
}
