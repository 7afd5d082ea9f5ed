//! Disks that are full and caches that may only be read.

use super::fixture::{FILTERS, Toy};
use crate::small_disk::{SmallDisk, fill};

#[test]
fn a_full_disk_leaves_what_is_committed() {
    let toy = Toy::new();
    let Some(disk) = SmallDisk::mount(toy.path("cache"), "size=768k") else {
        return;
    };
    let before = toy.run(&["run", "toy.toml", "--only", "rm"]);
    assert_eq!(before.code, 0, "{}", before.err);
    fill(&toy.path("cache/filler"));
    let full = toy.run(&["run", "toy.toml"]);
    assert_eq!(full.code, 3, "{}\n{}", full.out, full.err);
    insta::with_settings!({filters => disk_filters()}, {
        insta::assert_snapshot!("a_full_disk", full.snapshot());
    });
    let (object, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!((code, &object["exit_code"]), (3, &3.into()));
    assert_eq!(kept(&toy), ["rm:uniform", "rm:more"]);
    assert_eq!(toy.run(&["show", "toy.toml", "rm:more"]).code, 0);
    disk.change("size=4m");
    let (summary, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 0);
    assert_eq!(summary["stages"][0]["state"], "cached");
    assert_eq!(toy.run(&["cache", "verify", "toy.toml"]).code, 0);
}

/// The disk fills up while a stage writes its output.
#[test]
fn a_disk_that_fills_up_fails_that_stage_only() {
    let toy = Toy::new();
    let Some(disk) = SmallDisk::mount(toy.path("cache"), "size=1m") else {
        return;
    };
    toy.order("large.rm:more");
    let said = toy.run(&["run", "toy.toml", "-j", "1"]);
    assert_eq!(said.code, 1, "{}\n{}", said.out, said.err);
    assert!(said.err.contains("No space left on device"), "{}", said.err);
    let kept = kept(&toy);
    assert!(kept.contains(&"rm:uniform".to_owned()), "{kept:?}");
    assert!(kept.contains(&"sample".to_owned()), "{kept:?}");
    assert!(!kept.contains(&"rm:more".to_owned()), "{kept:?}");
    disk.change("size=8m");
    let (_, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 0);
    assert_eq!(toy.run(&["cache", "verify", "toy.toml"]).code, 0);
}

/// Cleaning is what makes room: it must need none itself.
#[test]
fn a_full_disk_can_be_cleaned() {
    let toy = Toy::new();
    let Some(_disk) = SmallDisk::mount(toy.path("cache"), "size=2m") else {
        return;
    };
    assert_eq!(toy.run(&["run", "toy.toml", "--only", "rm"]).code, 0);
    fill(&toy.path("cache/filler"));
    assert_eq!(toy.run(&["run", "toy.toml", "--only", "eval"]).code, 3);
    let (told, code) = toy.json(&["cache", "gc", "toy.toml", "--max-size", "0", "--json"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(told["records"], 2, "{told}");
    assert_eq!(kept(&toy), [""; 0]);
    assert_eq!(toy.run(&["cache", "verify", "toy.toml"]).code, 0);
    std::fs::remove_file(toy.path("cache/filler")).unwrap();
    assert_eq!(toy.run(&["run", "toy.toml", "--only", "rm"]).code, 0);
}

#[test]
fn a_cache_that_may_only_be_read_still_answers() {
    let toy = Toy::new();
    let Some(disk) = SmallDisk::mount(toy.path("cache"), "size=8m") else {
        return;
    };
    assert_eq!(toy.run(&["run", "toy.toml"]).code, 0);
    disk.change("ro");
    let (summary, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 0);
    let stages = summary["stages"].as_array().unwrap();
    assert!(stages.iter().all(|stage| stage["state"] == "cached"));
    assert_eq!(toy.run(&["show", "toy.toml", "verdict"]).code, 0);
    let said = toy.run(&["run", "toy.toml", "--set", "stage.sample.seed=5"]);
    assert_eq!(said.code, 3, "{}", said.err);
    insta::with_settings!({filters => disk_filters()}, {
        insta::assert_snapshot!("a_cache_that_may_only_be_read", said.snapshot());
    });
}

fn disk_filters() -> Vec<(&'static str, &'static str)> {
    let mut filters = FILTERS.to_vec();
    filters.push((r"\.tmp-[0-9a-f-]+", "[temporary]"));
    filters
}

/// Names of the stages whose results are in the cache.
fn kept(toy: &Toy) -> Vec<String> {
    let (status, code) = toy.json(&["status", "toy.toml", "--json"]);
    assert_eq!(code, 0);
    let stages = status["stages"].as_array().expect("stages");
    let cached = stages.iter().filter(|stage| stage["state"] == "cached");
    let name = |stage: &serde_json::Value| stage["name"].as_str().expect("a name").to_owned();
    cached.map(name).collect()
}
