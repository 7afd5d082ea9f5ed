//! Engines killed at any moment: the next plain run goes on.

use std::fs;
use std::io::{Write, stdin};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use moreline::engine;

use super::fixture::{Fixture, states, wait_for};

/// Not a test of its own: runs the fixture whose directory is on its standard
/// input, for the tests here to kill.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let mut line = String::new();
    stdin().read_line(&mut line).unwrap();
    Fixture::open(Path::new(line.trim())).run();
}

/// Runs a fixture in a process of its own.
fn run_apart(fixture: &Fixture) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engine::kills::child", "--ignored"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", fixture.path("").display()).unwrap();
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Digests of every output.
fn results(fixture: &Fixture) -> Vec<String> {
    let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
    let mut lines = Vec::new();
    for stage in view.stages {
        for (name, output) in stage.record.unwrap().outputs {
            lines.push(format!("{}/{name} {}", stage.name, output.digest));
        }
    }
    lines
}

fn process(fixture: &Fixture, name: &str) -> PathBuf {
    let file = fixture.path("control").join(name);
    wait_for(&file);
    Path::new("/proc").join(fs::read_to_string(&file).unwrap().trim())
}

/// True once the process is gone, or only its exit status is left.
fn is_gone(process: &Path) -> bool {
    fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
}

/// Seeded moments of up to a quarter of a second (Knuth's generator).
fn moments(count: usize) -> impl Iterator<Item = Duration> {
    let step = |state: &u64| {
        Some(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        )
    };
    std::iter::successors(Some(7u64), step)
        .skip(1)
        .take(count)
        .map(|state| Duration::from_millis((state >> 33) % 250))
}

#[test]
fn a_killed_engine_takes_its_worker_with_it() {
    let fixture = Fixture::new();
    fixture.order("hang.rm");
    let child = run_apart(&fixture);
    let worker = process(&fixture, "pid.rm");
    kill(child);
    for _ in 0..500 {
        if is_gone(&worker) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(is_gone(&worker));
    fixture.revoke("hang.rm");
    assert!(fixture.run().is_complete());
}

#[test]
fn late_writes_of_an_orphan_change_nothing() {
    let fixture = Fixture::new();
    fixture.order("orphan.gen");
    let child = run_apart(&fixture);
    process(&fixture, "pid.gen");
    kill(child);
    fixture.revoke("orphan.gen");
    fixture.order("hang.scored");
    let summary = std::thread::scope(|scope| {
        let run = scope.spawn(|| fixture.run());
        process(&fixture, "pid.scored");
        fixture.order("late");
        wait_for(&fixture.path("control").join("written"));
        super::fixture::stop(&fixture.cancel);
        run.join().unwrap()
    });
    assert!(summary.stopped);
    fixture.revoke("hang.scored");
    fixture
        .cancel
        .store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(fixture.run().is_complete());
    let undisturbed = Fixture::new();
    undisturbed.run();
    assert_eq!(results(&fixture), results(&undisturbed));
}

#[test]
fn a_run_killed_again_and_again_ends_in_the_same_results() {
    let fixture = Fixture::new();
    for moment in moments(25) {
        let child = run_apart(&fixture);
        std::thread::sleep(moment);
        kill(child);
    }
    let summary = fixture.run();
    assert!(summary.is_complete(), "{summary:#?}");
    let undisturbed = Fixture::new();
    undisturbed.run();
    assert_eq!(results(&fixture), results(&undisturbed));
    assert!(
        states(&fixture.run())
            .iter()
            .all(|state| state.ends_with("=cached"))
    );
    let store = engine::store(&fixture.experiment, &fixture.site);
    assert_eq!(store.verify_all().unwrap().damaged, []);
}
