//! Engines killed at any moment: the next plain run goes on.

use std::fs;
use std::io::{Write, stdin};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use moreline::engine;

use super::dice::Dice;
use super::fixture::{Fixture, states, wait_for};

/// Not a test of its own: runs the fixture whose directory is on its standard
/// input, for the tests here to kill.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let mut line = String::new();
    stdin().read_line(&mut line).unwrap();
    let summary = Fixture::open(Path::new(line.trim())).run();
    assert!(summary.is_complete());
}

/// Runs a fixture in a process of its own, which succeeds if the run is complete.
pub(super) fn run_apart(fixture: &Fixture) -> Child {
    start(Command::new(std::env::current_exe().unwrap()), fixture)
}

/// The same, where no file may grow beyond so many blocks of 512 bytes.
pub(super) fn run_with_limit(fixture: &Fixture, blocks: usize) -> Child {
    let mut shell = Command::new("sh");
    // Writing beyond the limit is an error, not a signal.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script);
    shell.arg(std::env::current_exe().unwrap());
    start(shell, fixture)
}

fn start(mut command: Command, fixture: &Fixture) -> Child {
    let mut child = command
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

pub(super) fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Digests of every output.
pub(super) fn results(fixture: &Fixture) -> Vec<String> {
    let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
    let mut lines = Vec::new();
    for stage in view.stages {
        for (name, output) in stage.record.unwrap().outputs {
            lines.push(format!("{}/{name} {}", stage.name, output.digest));
        }
    }
    lines
}

pub(super) fn process(fixture: &Fixture, name: &str) -> PathBuf {
    let file = fixture.path("control").join(name);
    wait_for(&file);
    Path::new("/proc").join(fs::read_to_string(&file).unwrap().trim())
}

/// True once the process is gone, or only its exit status is left.
pub(super) fn is_gone(process: &Path) -> bool {
    fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
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
    let mut dice = Dice::new(7);
    for _ in 0..25 {
        let child = run_apart(&fixture);
        std::thread::sleep(Duration::from_millis(dice.below(250) as u64));
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
