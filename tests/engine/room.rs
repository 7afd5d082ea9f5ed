//! Cleaning: what goes, what stays, and what is left when it is killed.

use std::fs;
use std::io::{Write, stdin};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use moreline::engine;
use moreline::plan::StageKey;
use moreline::store::{Collected, Policy, Store, StoreError};

use super::fixture::{Fixture, states, wait_for};
use super::kills::{kill, run_apart};

fn store(fixture: &Fixture) -> Store {
    engine::store(&fixture.experiment, &fixture.site)
}

fn key(fixture: &Fixture, stage: &str) -> StageKey {
    engine::key_of(&fixture.experiment, &fixture.site, stage).unwrap()
}

/// Writes down when stages were used last, in seconds ago.
fn used(fixture: &Fixture, ages: &[(&str, u64)]) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    let lines: Vec<String> = ages
        .iter()
        .map(|(stage, ago)| format!("\"{}\":{}", key(fixture, stage), now - ago))
        .collect();
    fs::write(
        fixture.cache().join("uses.json"),
        format!("{{{}}}", lines.join(",")),
    )
    .unwrap();
}

const AGES: [(&str, u64); 5] = [
    ("rm", 1000),
    ("eval", 9000),
    ("gen", 3000),
    ("scored", 2000),
    ("best", 0),
];

fn cached(fixture: &Fixture) -> Vec<String> {
    let names = ["rm", "eval", "gen", "scored", "best"];
    let records = store(fixture).records().unwrap();
    let is_there = |name: &&&str| records.iter().any(|record| record.stage == **name);
    names
        .iter()
        .filter(is_there)
        .map(|name| (*name).to_owned())
        .collect()
}

#[test]
fn what_was_not_used_for_long_goes() {
    let fixture = Fixture::new();
    fixture.run();
    used(&fixture, &AGES);
    let policy = Policy {
        max_age: Some(2500),
        ..Policy::default()
    };
    let dry = Policy {
        dry_run: true,
        ..policy.clone()
    };
    let told = fixture.gc(&dry);
    assert_eq!(cached(&fixture).len(), 5);
    let size = store(&fixture).size().unwrap();
    let done = fixture.gc(&policy);
    assert_eq!((told.records, told.bytes), (done.records, done.bytes));
    // Both files of a stage of the fixture's hold the same bytes.
    assert_eq!((done.records, done.objects), (2, 2));
    assert_eq!(done.left_bytes, size.bytes - done.bytes);
    assert_eq!(cached(&fixture), ["rm", "scored", "best"]);
    fixture.worked();
    let summary = fixture.run();
    assert_eq!(fixture.worked(), ["eval", "gen"]);
    assert_eq!(states(&summary)[4], "best=cut-off");
}

#[test]
fn the_least_recently_used_go_until_it_fits() {
    let fixture = Fixture::new();
    fixture.run();
    used(&fixture, &AGES);
    let before = store(&fixture).size().unwrap();
    let most = before.bytes - before.freed.gc - 1;
    let policy = Policy {
        max_size: Some(most),
        ..Policy::default()
    };
    let done = fixture.gc(&policy);
    assert_eq!(done.records, 1);
    assert!(done.left_bytes <= most);
    assert_eq!(cached(&fixture), ["rm", "gen", "scored", "best"]);
    let policy = Policy {
        max_size: Some(0),
        keep: [key(&fixture, "gen")].into(),
        ..Policy::default()
    };
    fixture.gc(&policy);
    assert_eq!(cached(&fixture), ["gen"]);
}

#[test]
fn a_run_notes_what_it_used() {
    let fixture = Fixture::new();
    fixture.run();
    used(&fixture, &AGES.map(|(stage, _)| (stage, 9000)));
    fixture.run();
    let policy = Policy {
        max_age: Some(8000),
        ..Policy::default()
    };
    assert_eq!(fixture.gc(&policy).records, 0);
}

#[test]
fn what_is_pinned_stays_until_it_is_unpinned() {
    let fixture = Fixture::new();
    fixture.run();
    let everything = Policy {
        max_age: Some(0),
        max_size: Some(0),
        ..Policy::default()
    };
    used(&fixture, &AGES.map(|(stage, _)| (stage, 9000)));
    let pinned = key(&fixture, "gen");
    store(&fixture).pin_key(&pinned, Some("gen")).unwrap();
    assert!(store(&fixture).size().unwrap().pinned_bytes > 0);
    fixture.gc(&everything);
    assert_eq!(cached(&fixture), ["gen"]);
    assert_eq!(store(&fixture).pins().unwrap()[0].key, pinned);
    assert_eq!(store(&fixture).verify_all().unwrap().damaged, []);
    assert!(store(&fixture).unpin_key(&pinned).unwrap());
    assert!(!store(&fixture).unpin_key(&pinned).unwrap());
    fixture.gc(&everything);
    assert_eq!(cached(&fixture), [""; 0]);
}

#[test]
fn checkpoints_stay_until_their_stage_is_done_or_they_are_old() {
    let fixture = Fixture::new();
    fixture.order("fail.rm");
    fixture.run();
    let partial = fixture.cache().join("partial");
    let dir = partial.join(key(&fixture, "rm").to_string());
    assert!(dir.join("1/checkpoint").exists());
    assert_eq!(fixture.gc(&Policy::default()).partials, 0);
    assert!(dir.join("1/checkpoint").exists());
    let day_ago = std::time::SystemTime::now() - Duration::from_secs(86_400);
    for path in [dir.join("1/checkpoint"), dir.clone()] {
        fs::File::open(&path)
            .unwrap()
            .set_modified(day_ago)
            .unwrap();
    }
    let old = Policy {
        max_age: Some(3600),
        ..Policy::default()
    };
    fs::write(dir.join("lease.json"), "{}").unwrap();
    fs::File::open(&dir).unwrap().set_modified(day_ago).unwrap();
    let lease = fs::File::options()
        .append(true)
        .open(dir.join("lease.json"));
    lease.unwrap().set_modified(day_ago).unwrap();
    assert_eq!(fixture.gc(&old).partials, 0);
    fs::remove_file(dir.join("lease.json")).unwrap();
    fs::File::open(&dir).unwrap().set_modified(day_ago).unwrap();
    assert_eq!(fixture.gc(&old).partials, 1);
    assert!(!dir.exists());
}

/// Cleans all away but what the newest run used.
fn clean_to_newest(fixture: &Fixture) -> Collected {
    let policy = Policy {
        max_size: Some(0),
        ..Policy::default()
    };
    loop {
        match engine::clean(&store(fixture), policy.clone(), Some(1)) {
            // See `Fixture::gc`.
            Err(StoreError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
            done => return done.unwrap(),
        }
    }
}

/// Runs, and kills the engine once a stage hangs.
fn run_killed_at(fixture: &Fixture, stage: &str) {
    // Ids of runs sort by seconds.
    std::thread::sleep(Duration::from_millis(1100));
    fixture.order(&format!("hang.{stage}"));
    let child = run_apart(fixture);
    let pid = fixture.path("control").join(format!("pid.{stage}"));
    wait_for(&pid);
    kill(child);
    fs::remove_file(pid).unwrap();
    fixture.revoke(&format!("hang.{stage}"));
}

#[test]
fn what_a_killed_run_committed_or_found_stays() {
    let fixture = Fixture::new();
    run_killed_at(&fixture, "scored");
    clean_to_newest(&fixture);
    let left = cached(&fixture);
    assert!(
        left.contains(&"rm".into()) && left.contains(&"gen".into()),
        "{left:?}"
    );
    assert!(fixture.run().is_complete());
    // Now another run's record names what the killed one only found.
    for record in fs::read_dir(fixture.cache().join("actions")).unwrap() {
        let path = record.unwrap().path();
        if !fs::read_to_string(&path)
            .unwrap()
            .contains("\"stage\":\"rm\"")
        {
            fs::remove_file(path).unwrap();
        }
    }
    run_killed_at(&fixture, "gen");
    assert_eq!(clean_to_newest(&fixture).runs, 2);
    assert!(cached(&fixture).contains(&"rm".into()));
}

/// A failed run's record names what it committed.
#[test]
fn what_a_failed_run_committed_stays() {
    let fixture = Fixture::new();
    fixture.order("fail.scored");
    assert!(!fixture.run().is_complete());
    clean_to_newest(&fixture);
    assert_eq!(cached(&fixture), ["rm", "eval", "gen"]);
}

#[test]
fn journals_of_old_runs_go_and_what_the_others_used_stays() {
    let mut fixture = Fixture::new();
    fixture.run();
    let old = key(&fixture, "gen");
    std::thread::sleep(Duration::from_millis(1100));
    fixture.set("gen", "seed", 7.into());
    fixture.run();
    assert_eq!(clean_to_newest(&fixture).runs, 1);
    assert!(
        fixture
            .planned()
            .iter()
            .all(|stage| stage.ends_with("=cached"))
    );
    assert_eq!(store(&fixture).record(&old).unwrap(), None);
}

#[test]
fn nothing_goes_while_a_run_goes_on() {
    let fixture = Fixture::new();
    fixture.run();
    fixture.order("hang.gen");
    fs::remove_file(fixture.object("gen", "responses.jsonl")).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| fixture.run());
        wait_for(&fixture.path("control").join("pid.gen"));
        let everything = Policy {
            max_size: Some(0),
            ..Policy::default()
        };
        let refused = engine::clean(&store(&fixture), everything, None).unwrap_err();
        assert!(
            refused.to_string().contains("a run is using it"),
            "{refused}"
        );
        super::fixture::stop(&fixture.cancel);
        run.join().unwrap();
    });
    assert_eq!(cached(&fixture).len(), 5);
}

/// Not a test of its own: cleans the cache whose directory is on its standard
/// input, for the test here to kill.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let mut line = String::new();
    stdin().read_line(&mut line).unwrap();
    let fixture = Fixture::open(Path::new(line.trim()));
    let everything = Policy {
        max_size: Some(0),
        ..Policy::default()
    };
    fixture.gc(&everything);
}

#[test]
fn cleaning_killed_at_any_moment_leaves_a_sound_cache() {
    let fixture = Fixture::new();
    for moment in 0..12 {
        assert!(fixture.run().is_complete());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "engine::room::child", "--ignored"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{}", fixture.path("").display()).unwrap();
        drop(input);
        std::thread::sleep(Duration::from_millis(moment * 2));
        child.kill().unwrap();
        child.wait().unwrap();
        for record in store(&fixture).records().unwrap() {
            for output in record.outputs.values() {
                store(&fixture).verify(output).unwrap();
            }
        }
    }
    fixture.gc(&Policy::default());
    assert!(fixture.run().is_complete());
    assert_eq!(store(&fixture).verify_all().unwrap().damaged, []);
}
