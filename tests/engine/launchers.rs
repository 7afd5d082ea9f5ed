//! Workers that another program starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::fixture::{Fixture, error, states, stop};
use super::kills::{is_gone, kill, process, run_apart};

/// Starts the worker as it is told to, and says with what.
const PLAIN: &str = r#"echo "$@" >> "$(dirname "$0")/control/launched"
[ "$1" = --quietly ] && shift
exec "$@"
"#;

/// Starts it where no signal of the engine's reaches it and no search finds it,
/// as on another machine: it passes on SIGTERM, standard input and output.
const FAR: &str = r#"exec 3<&0
env -u MORELINE_ATTEMPT setsid "$@" <&3 &
trap 'kill -TERM $!' TERM
exec 3<&-
wait $!; wait $!
"#;

/// A launcher, which the fixture's site then names.
fn launched(script: &str) -> Fixture {
    let mut fixture = Fixture::new();
    let path = fixture.path("launch.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fixture.site = Fixture::open(&fixture.path("")).site;
    fixture
}

fn assert_ends(worker: &Path) {
    for _ in 0..500 {
        if is_gone(worker) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the worker is still there");
}

#[test]
fn a_launcher_gets_the_worker_and_its_arguments() {
    let mut fixture = launched(PLAIN);
    let launcher = fixture.site.launcher.as_mut().unwrap();
    launcher.push("--quietly".into());
    assert!(fixture.run().is_complete());
    let log = fs::read_to_string(fixture.path("control/launched")).unwrap();
    let worker = fixture.path("worker.sh");
    let start = format!("--quietly {} run --job /", worker.display());
    assert_eq!(log.lines().count(), 4);
    assert!(log.lines().all(|line| line.starts_with(&start)), "{log}");
}

/// Whatever starts a worker, the result is the same.
#[test]
fn a_launcher_is_no_part_of_any_key() {
    let mut fixture = launched(PLAIN);
    fixture.run();
    fixture.site.launcher = None;
    let again = states(&fixture.run());
    assert!(again.iter().all(|state| state.ends_with("=cached")));
}

#[test]
fn a_launcher_that_is_not_there_is_named_and_not_the_worker() {
    let mut fixture = Fixture::new();
    fixture.site.launcher = Some(vec!["no-such-launcher".into()]);
    let summary = fixture.run();
    let failure = error(&summary, "rm");
    insta::assert_snapshot!(failure.message, @"cannot start `no-such-launcher`, which `launcher` in the site file names: No such file or directory (os error 2)");
    insta::assert_snapshot!(failure.hint.unwrap(), @"install it, write its path, or take `launcher` out of the site file");
}

#[test]
fn a_stopped_run_ends_a_worker_far_away_through_its_launcher() {
    let fixture = launched(FAR);
    fixture.order("hang.rm");
    let (summary, worker) = std::thread::scope(|scope| {
        let run = scope.spawn(|| fixture.run());
        let worker = process(&fixture, "pid.rm");
        stop(&fixture.cancel);
        (run.join().unwrap(), worker)
    });
    assert!(summary.stopped);
    assert_ends(&worker);
}

/// The end of its standard input is all that is left to tell it.
#[test]
fn a_worker_far_away_ends_with_a_killed_engine() {
    let fixture = launched(FAR);
    fixture.order("hang.rm");
    let engine = run_apart(&fixture);
    let worker = process(&fixture, "pid.rm");
    kill(engine);
    assert_ends(&worker);
    fixture.revoke("hang.rm");
    assert!(fixture.run().is_complete());
}
