//! Processes that outlive their worker or their engine: what they write late
//! changes nothing.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use moreline::engine;
use moreline::store::Policy;

use super::fixture::{Fixture, states, wait_for};
use super::kills::{is_gone, kill, process, results, run_apart};

/// Results of a run that nobody disturbed.
fn undisturbed() -> Vec<String> {
    let fixture = Fixture::new();
    fixture.order("journal");
    fixture.run();
    results(&fixture)
}

fn daemon(fixture: &Fixture) -> PathBuf {
    process(fixture, "daemon")
}

/// Kills an engine whose worker hangs and has started a daemon: the daemon.
fn outlive_a_killed_engine(fixture: &Fixture) -> PathBuf {
    fixture.order("daemon.gen");
    fixture.order("hang.gen");
    let engine = run_apart(fixture);
    process(fixture, "pid.gen");
    let daemon = daemon(fixture);
    kill(engine);
    assert!(!is_gone(&daemon));
    daemon
}

/// Lets the orphan write, if there still is one.
fn let_write(fixture: &Fixture) {
    fixture.order("late");
    std::thread::sleep(Duration::from_millis(100));
}

/// It left its group and its session, ignores what it can, and has the outputs
/// open that are being committed.
#[test]
fn a_daemon_of_a_finished_worker_is_ended_before_the_commit() {
    let fixture = Fixture::new();
    fixture.order("journal");
    fixture.order("daemon.gen");
    assert!(fixture.run().is_complete());
    assert!(is_gone(&daemon(&fixture)));
    let_write(&fixture);
    assert!(!fixture.path("control/written").exists());
    assert_eq!(results(&fixture), undisturbed());
    let store = engine::store(&fixture.experiment, &fixture.site);
    assert_eq!(store.verify_all().unwrap().damaged, []);
}

/// Nothing can end it together with an engine that is killed: the next run does.
#[test]
fn a_daemon_of_a_killed_engine_is_ended_by_the_next_run() {
    let fixture = Fixture::new();
    fixture.order("journal");
    let daemon = outlive_a_killed_engine(&fixture);
    fixture.revoke("hang.gen");
    fixture.revoke("daemon.gen");
    assert!(fixture.run().is_complete());
    assert!(is_gone(&daemon));
    let_write(&fixture);
    assert!(!fixture.path("control/written").exists());
    assert_eq!(results(&fixture), undisturbed());
}

/// Cleaning takes away what it writes into: it goes first.
#[test]
fn a_daemon_of_a_killed_engine_is_ended_by_cleaning_the_cache() {
    let fixture = Fixture::new();
    let daemon = outlive_a_killed_engine(&fixture);
    fixture.gc(&Policy::default());
    assert!(is_gone(&daemon));
    let_write(&fixture);
    assert!(!fixture.path("control/written").exists());
}

/// A daemon that cannot be found, for it wiped its environment: it holds the
/// journal and the output of an attempt open that is long abandoned.
#[test]
fn late_writes_through_open_files_reach_nothing_that_counts() {
    let fixture = Fixture::new();
    fixture.order("journal");
    fixture.order("daemon.gen");
    fixture.order("unmarked");
    fixture.order("hang.gen");
    let engine = run_apart(&fixture);
    process(&fixture, "pid.gen");
    let daemon = daemon(&fixture);
    kill(engine);
    fixture.revoke("hang.gen");
    fixture.revoke("daemon.gen");
    fixture.order("hang.scored");
    let second = run_apart(&fixture);
    process(&fixture, "pid.scored");
    assert!(!is_gone(&daemon));
    fixture.order("late");
    wait_for(&fixture.path("control/written"));
    kill(second);
    fixture.revoke("hang.scored");
    assert!(fixture.run().is_complete());
    assert_eq!(results(&fixture), undisturbed());
    let cached = states(&fixture.run());
    assert!(cached.iter().all(|state| state.ends_with("=cached")));
}

/// The death signal comes when the *thread* ends that started the worker: it must
/// be one that lives as long as the run.
#[test]
fn the_death_signal_comes_with_the_engines_end_and_no_earlier() {
    if !has_setpriv() {
        return;
    }
    let fixture = Fixture::new();
    for stage in ["rm", "eval", "gen", "scored"] {
        fixture.order(&format!("mortal.{stage}"));
    }
    fixture.order("slow.rm");
    assert!(fixture.run().is_complete());
    fs::remove_dir_all(fixture.cache()).unwrap();
    fixture.order("hang.rm");
    let engine = run_apart(&fixture);
    let worker = process(&fixture, "pid.rm");
    assert!(!is_gone(&worker));
    kill(engine);
    for _ in 0..500 {
        if is_gone(&worker) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the worker outlived its engine");
}

fn has_setpriv() -> bool {
    let found = Command::new("setpriv").arg("--version").output().is_ok();
    if !found {
        // Written past the test harness, which hides what passing tests print.
        let _ = writeln!(std::io::stderr(), "not tested: there is no setpriv");
    }
    found
}
