//! Two runs at once, and questions while a run holds its locks.

use std::time::{Duration, Instant};

use moreline::engine::{self, Silent};
use moreline::event::{Holder, RunEvent};

use super::fixture::{Fixture, Recorder, Runner, wait_for};
use super::kills::{kill, run_apart};

/// A run in a process of its own that sits in `rm`.
fn hanging(fixture: &Fixture) -> std::process::Child {
    fixture.order("hang.rm");
    let engine = run_apart(fixture);
    wait_for(&fixture.path("control/pid.rm"));
    engine
}

fn holder(recorder: &Recorder) -> Option<Holder> {
    let events = recorder.0.lock().unwrap();
    events.iter().find_map(|event| match event {
        RunEvent::StageWaiting { stage, holder } if stage == "rm" => holder.clone(),
        _ => None,
    })
}

#[test]
fn a_run_waits_for_another_process_and_names_it() {
    let fixture = Fixture::new();
    let engine = hanging(&fixture);
    let pid = engine.id();
    let recorder = Recorder::default();
    let summary = std::thread::scope(|scope| {
        let run = scope.spawn(|| fixture.try_run(&["rm"], &Runner::default(), &recorder));
        let clock = Instant::now();
        while holder(&recorder).is_none() && clock.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let holder = holder(&recorder).expect("a holder");
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        assert_eq!((holder.pid, holder.host), (pid, host));
        fixture.revoke("hang.rm");
        kill(engine);
        run.join().unwrap().unwrap()
    });
    assert!(summary.is_complete(), "{summary:#?}");
}

#[test]
fn two_processes_compute_a_stage_once() {
    let fixture = Fixture::new();
    fixture.order("slow.rm");
    let mut engines = [run_apart(&fixture), run_apart(&fixture)];
    for engine in &mut engines {
        assert!(engine.wait().unwrap().success());
    }
    let mut worked = fixture.worked();
    worked.sort();
    assert_eq!(worked, ["eval", "gen", "rm", "scored"]);
}

/// Were one of them to wait for the run, the test would not end.
#[test]
fn questions_are_answered_while_a_run_holds_its_locks() {
    let fixture = Fixture::new();
    let engine = hanging(&fixture);
    assert_eq!(fixture.planned()[0], "rm=run");
    let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
    assert!(view.stage("rm").unwrap().record.is_none());
    let explained = engine::explain(&fixture.experiment, &fixture.site, "rm", None);
    assert!(explained.is_ok());
    let store = engine::store(&fixture.experiment, &fixture.site);
    assert!(store.size().is_ok() && store.verify_all().is_ok());
    let export = engine::export(&fixture.experiment, &fixture.site, "rm", &fixture.path("x"));
    assert!(export.is_err());
    kill(engine);
    fixture.revoke("hang.rm");
    let run = fixture.try_run(&[], &Runner::default(), &Silent).unwrap();
    assert!(run.is_complete());
}
