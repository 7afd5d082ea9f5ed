//! Damaged caches: found on use, made good in the same run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use moreline::engine;
use moreline::store::Policy;

use super::fixture::{Fixture, states};

/// Flips a byte and puts the modification time back.
pub(super) fn flip(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(modified).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
}

#[test]
fn a_flipped_byte_is_found_and_made_good() {
    let fixture = Fixture::new();
    let before = fixture.run();
    let object = fixture.object("gen", "responses.jsonl");
    let bytes = fs::read(&object).unwrap();
    fixture.worked();
    flip(&object);
    assert!(
        fixture.why("gen").contains("damaged"),
        "{}",
        fixture.why("gen")
    );
    let after = fixture.run();
    assert_eq!(
        states(&after),
        [
            "rm=cached",
            "eval=cached",
            "gen=ran",
            "scored=cut-off",
            "best=cut-off"
        ]
    );
    assert_eq!(fixture.worked(), ["gen"]);
    assert_eq!(fs::read(&object).unwrap(), bytes);
    assert_eq!(before.stages[4].key, after.stages[4].key);
}

/// The memo says that the object is fine; only its use shows that it is not.
#[test]
fn damage_the_memo_hides_is_found_on_use() {
    let mut fixture = Fixture::new();
    fixture.run();
    let model = fixture.object("rm", "model");
    let object = fs::canonicalize(model.join("model.safetensors")).unwrap();
    flip(&object);
    trust_in_memo(&fixture, &object);
    fixture.worked();
    assert!(fixture.planned().iter().all(|s| s.ends_with("=cached")));
    fixture.set("scored", "precision", "fp32".into());
    let summary = fixture.run();
    assert_eq!(
        states(&summary),
        [
            "rm=ran",
            "eval=cached",
            "gen=cached",
            "scored=ran",
            "best=ran"
        ]
    );
    assert_eq!(fixture.worked(), ["rm", "scored"]);
    let quarantine = fs::read_dir(fixture.cache().join("quarantine")).unwrap();
    assert_eq!(quarantine.count(), 1);
}

/// Where nothing but the copying itself reads the bytes.
#[test]
fn damage_that_an_export_finds_is_made_good_by_the_next_run() {
    let fixture = Fixture::new();
    fixture.run();
    let object = fixture.object("gen", "responses.jsonl");
    let bytes = fs::read(&object).unwrap();
    flip(&object);
    trust_in_memo(&fixture, &object);
    let to = fixture.path("exported");
    let export = || engine::export(&fixture.experiment, &fixture.site, "gen", &to);
    let message = export().unwrap_err().to_string();
    assert!(message.contains("damaged"), "{message}");
    assert!(!to.exists() && !object.exists());
    let quarantine = fs::read_dir(fixture.cache().join("quarantine")).unwrap();
    assert_eq!(quarantine.count(), 1);
    fixture.worked();
    assert!(fixture.run().is_complete());
    assert_eq!(fixture.worked(), ["gen"]);
    export().unwrap();
    assert_eq!(fs::read(to.join("responses.jsonl")).unwrap(), bytes);
}

/// Rewrites the memo's line of an object as if it had always looked like now.
pub(super) fn trust_in_memo(fixture: &Fixture, object: &Path) {
    use std::os::unix::fs::MetadataExt;
    let file = fixture.cache().join("memo");
    let text = fs::read_to_string(&file).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    let (written, body) = body.split_once('\n').unwrap();
    let meta = fs::metadata(object).unwrap();
    let nanos = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
    let mut lines = format!("{written}\n");
    for line in body.lines() {
        if line.ends_with(object.to_str().unwrap()) {
            let digest = &line[..64];
            lines.push_str(&format!(
                "{digest} {} {} {} {} {}\n",
                meta.size(),
                nanos(meta.mtime(), meta.mtime_nsec()),
                nanos(meta.ctime(), meta.ctime_nsec()),
                meta.ino(),
                object.display()
            ));
        } else {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    let sum = moreline::digest::Digest::of(lines.as_bytes());
    fs::write(file, format!("moreline memo 2 {sum}\n{lines}")).unwrap();
}

#[test]
fn a_truncated_object_and_a_lost_one_are_made_good() {
    let fixture = Fixture::new();
    fixture.run();
    let short = fixture.object("gen", "fed.jsonl");
    fs::set_permissions(&short, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&short, "").unwrap();
    fs::remove_file(fixture.object("eval", "records.jsonl")).unwrap();
    fixture.worked();
    assert!(fixture.run().is_complete());
    let mut worked = fixture.worked();
    worked.sort();
    assert_eq!(worked, ["eval", "gen"]);
    assert!(fixture.planned().iter().all(|s| s.ends_with("=cached")));
}

#[test]
fn a_flipped_byte_in_a_record_is_found() {
    let fixture = Fixture::new();
    fixture.run();
    for entry in fs::read_dir(fixture.cache().join("actions")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"rows\":1", "\"rows\":7")).unwrap();
    }
    fixture.worked();
    let summary = fixture.run();
    assert_eq!(fixture.worked().len(), 4);
    assert!(summary.stages.iter().all(|stage| {
        stage
            .metrics
            .as_ref()
            .is_none_or(|m| m.get("rows").is_none_or(|rows| rows == 1))
    }));
}

#[test]
fn verify_finds_what_planning_cannot_see() {
    let fixture = Fixture::new();
    fixture.run();
    let object = fixture.object("gen", "responses.jsonl");
    flip(&object);
    trust_in_memo(&fixture, &object);
    let store = engine::store(&fixture.experiment, &fixture.site);
    let verified = store.verify_all().unwrap();
    assert_eq!(verified.damaged.len(), 1);
    assert!(
        fixture.why("gen").contains("gone"),
        "{}",
        fixture.why("gen")
    );
    assert!(fixture.run().is_complete());
    assert_eq!(store.verify_all().unwrap().damaged, []);
}

#[test]
fn cleaning_keeps_what_records_need() {
    let fixture = Fixture::new();
    fixture.run();
    let store = engine::store(&fixture.experiment, &fixture.site);
    assert_eq!(fixture.gc(&Policy::default()).objects, 0);
    assert!(fixture.planned().iter().all(|s| s.ends_with("=cached")));
    fs::remove_dir_all(fixture.cache().join("actions")).unwrap();
    fs::create_dir(fixture.cache().join("actions")).unwrap();
    let size = store.size().unwrap();
    assert_eq!(
        fixture
            .gc(&Policy {
                dry_run: true,
                ..Policy::default()
            })
            .objects,
        size.objects
    );
    assert_eq!(store.size().unwrap().objects, size.objects);
    assert_eq!(fixture.gc(&Policy::default()).objects, size.objects);
    assert_eq!(store.size().unwrap().objects, 0);
    assert!(fixture.run().is_complete());
}

#[test]
fn cleaning_waits_for_no_run_and_breaks_none() {
    let fixture = Fixture::new();
    fixture.run();
    let store = engine::store(&fixture.experiment, &fixture.site);
    let used = store.use_lock().unwrap();
    let message = engine::clean(&store, Policy::default(), None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("a run is using it"), "{message}");
    drop(used);
    fixture.gc(&Policy::default());
}

#[test]
fn a_directory_that_is_no_cache_is_not_cleaned() {
    let fixture = Fixture::new();
    for name in ["locks", "views", "partial"] {
        fs::create_dir_all(fixture.cache().join(name)).unwrap();
        fs::write(fixture.cache().join(name).join("mine"), "").unwrap();
    }
    let store = engine::store(&fixture.experiment, &fixture.site);
    let message = engine::clean(&store, Policy::default(), None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("is no cache of moreline"), "{message}");
    assert!(fixture.cache().join("views/mine").exists());
}

/// A worker lists the directory it is given: nothing more may be in it.
#[test]
fn a_view_holds_what_belongs_there_and_nothing_else() {
    let fixture = Fixture::new();
    fixture.run();
    let model = || {
        let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
        view.stage("rm").unwrap().outputs["model"].clone()
    };
    fs::write(model().join("model.safetensors.index.json"), "{}").unwrap();
    fs::remove_file(model().join("config.json")).unwrap();
    let names = fs::read_dir(model()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors"]);
}

/// The same key, made anew, may give other bytes: what lies beside the
/// experiment follows.
#[test]
fn results_beside_the_experiment_follow_the_cache() {
    let fixture = Fixture::new();
    fixture.run();
    fs::remove_file(fixture.object("gen", "responses.jsonl")).unwrap();
    fixture.order("const.gen");
    fixture.run();
    let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
    let inside = fs::read(&view.stage("gen").unwrap().outputs["responses.jsonl"]).unwrap();
    let beside = fs::read(fixture.path("outputs/toy/gen/responses.jsonl")).unwrap();
    assert!(String::from_utf8_lossy(&inside).contains("constant"));
    assert_eq!(inside, beside);
    let leftovers = fs::read_dir(fixture.path("outputs/toy/gen")).unwrap();
    let hidden = |name: std::ffi::OsString| name.to_string_lossy().starts_with('.');
    assert!(
        !leftovers
            .map(|entry| entry.unwrap().file_name())
            .any(hidden)
    );
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let mut fixture = Fixture::new();
    fs::write(fixture.path("file"), "").unwrap();
    fixture.site.cache = Some(fixture.path("file").join("cache"));
    let error = fixture
        .try_run(&[], &super::fixture::Runner::default(), &engine::Silent)
        .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("file/cache"), "{message}");
}
