//! What runs, what does not, and what a failure takes down.

use std::fs;

use moreline::engine::{self, EngineError, Silent, StageFailure};
use moreline::event::RunEvent;

use super::fixture::{Fixture, Recorder, Runner, error, states, stop, wait_for};

const ALL: [&str; 5] = ["rm", "eval", "gen", "scored", "best"];

fn all(state: &str) -> Vec<String> {
    ALL.iter().map(|name| format!("{name}={state}")).collect()
}

#[test]
fn a_second_run_computes_nothing() {
    let fixture = Fixture::new();
    let first = fixture.run();
    assert_eq!(states(&first), all("ran"), "{:#?}", first.stages);
    assert_eq!(fixture.worked().len(), 4);
    let second = fixture.run();
    assert_eq!(states(&second), all("cached"));
    assert_eq!(fixture.worked(), Vec::<String>::new());
    assert_ne!(first.run_id, second.run_id);
    for (before, after) in first.stages.iter().zip(&second.stages) {
        assert_eq!((before.key, &before.metrics), (after.key, &after.metrics));
    }
}

#[test]
fn the_plan_says_what_a_run_does() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.planned(),
        [
            "rm=run",
            "eval=maybe",
            "gen=run",
            "scored=maybe",
            "best=maybe"
        ]
    );
    assert_eq!(fixture.why("rm"), "no result yet");
    assert_eq!(fixture.why("scored"), "depends on gen, rm");
    assert!(!fixture.cache().exists(), "planning wrote into the cache");
    fixture.run();
    assert_eq!(fixture.planned(), all("cached"));
}

#[test]
fn the_same_bytes_cut_off_what_follows() {
    let mut fixture = Fixture::new();
    fixture.order("const.gen");
    fixture.run();
    fixture.set("gen", "seed", 7.into());
    let summary = fixture.run();
    assert_eq!(
        states(&summary),
        [
            "rm=cached",
            "eval=cached",
            "gen=ran",
            "scored=cut-off",
            "best=cut-off"
        ]
    );
}

#[test]
fn a_failure_takes_down_only_what_depends_on_it() {
    let fixture = Fixture::new();
    fixture.order("fail.rm");
    let summary = fixture.run();
    assert_eq!(
        states(&summary),
        [
            "rm=failed",
            "eval=skipped",
            "gen=ran",
            "scored=skipped",
            "best=skipped"
        ]
    );
    let expected = StageFailure::new("row 3 is bad").with_hint("mend it");
    assert_eq!(error(&summary, "rm"), expected);
    assert_eq!(error(&summary, "best").message, "`rm` failed");
    fixture.revoke("fail.rm");
    assert_eq!(
        states(&fixture.run()),
        ["rm=ran", "eval=ran", "gen=cached", "scored=ran", "best=ran"]
    );
}

#[test]
fn a_killed_worker_is_a_failed_stage_and_leaves_its_checkpoints() {
    let fixture = Fixture::new();
    fixture.order("kill.rm");
    let summary = fixture.run();
    let failure = error(&summary, "rm");
    assert!(failure.message.contains("SIGKILL"), "{failure}");
    assert!(
        failure.message.contains("text on standard error"),
        "{failure}"
    );
    let key = summary.stages[0].key.unwrap().to_string();
    let partial = fixture.cache().join("partial").join(key);
    assert!(partial.join("1/checkpoint").exists());
    fixture.revoke("kill.rm");
    assert_eq!(states(&fixture.run())[0], "rm=ran");
    assert!(!partial.exists());
    let attempts = fs::read_dir(fixture.cache().join("attempts")).unwrap();
    assert_eq!(attempts.count(), 0);
}

#[test]
fn a_worker_that_ends_without_a_word_has_failed() {
    let fixture = Fixture::new();
    fixture.order("silent.rm");
    let failure = error(&fixture.run(), "rm");
    assert!(
        failure.message.contains("without saying that it finished"),
        "{failure}"
    );
}

#[test]
fn only_declared_plain_files_are_taken() {
    let fixture = Fixture::new();
    fixture.order("link.rm");
    fixture.order("less.gen");
    let summary = fixture.run();
    let message = |name| error(&summary, name).message;
    assert!(
        message("rm").contains("not a plain file"),
        "{}",
        message("rm")
    );
    assert!(
        message("gen").contains("without writing it"),
        "{}",
        message("gen")
    );
}

#[test]
fn a_metric_that_is_no_number_fails_the_stage() {
    let fixture = Fixture::new();
    fixture.order("nan.rm");
    let failure = error(&fixture.run(), "rm");
    assert_eq!(
        failure.message,
        "metric `loss.last` is not a number (NaN or infinite)"
    );
}

#[test]
fn an_input_that_changes_while_a_stage_runs_fails_it() {
    let fixture = Fixture::new();
    let data = fixture.path("helpful.jsonl");
    let action = fixture.path("control").join("touch.rm");
    fs::write(&action, data.to_str().unwrap()).unwrap();
    let failure = error(&fixture.run(), "rm");
    assert!(
        failure.message.contains("changed while the stage ran"),
        "{failure}"
    );
    fs::remove_file(action).unwrap();
    assert_eq!(states(&fixture.run())[0], "rm=ran");
}

#[test]
fn a_missing_worker_is_named_with_the_way_out() {
    let mut fixture = Fixture::new();
    fixture.site.worker = None;
    let failure = error(&fixture.run(), "rm");
    assert!(failure.message.contains("/nowhere"), "{failure}");
    assert!(failure.hint.unwrap().contains("cargo build"));
}

#[test]
fn all_input_problems_are_told_before_anything_runs() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("prompts.jsonl")).unwrap();
    fs::remove_file(fixture.path("model.gguf")).unwrap();
    let runner = Runner {
        problems: vec![StageFailure::new("helpful.jsonl, line 1: bad")],
    };
    let result = fixture.try_run(&[], &runner, &Silent);
    let Err(EngineError::Inputs(problems)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(fixture.worked().is_empty());
    assert_eq!(fixture.planned()[2], "gen=missing-input");
}

#[test]
fn checks_of_inputs_stop_a_run_that_would_compute() {
    let fixture = Fixture::new();
    let runner = Runner {
        problems: vec![StageFailure::new("bad")],
    };
    let result = fixture.try_run(&[], &runner, &Silent);
    assert!(matches!(result, Err(EngineError::Inputs(_))));
    assert!(fixture.worked().is_empty());
    fixture.run();
    assert!(fixture.try_run(&[], &runner, &Silent).is_ok());
}

#[test]
fn only_takes_what_it_needs() {
    let fixture = Fixture::new();
    let only = |names: &[&str]| fixture.try_run(names, &Runner::default(), &Silent);
    assert_eq!(states(&only(&["eval"]).unwrap()), ["rm=ran", "eval=ran"]);
    assert_eq!(
        states(&only(&["eval"]).unwrap()),
        ["rm=cached", "eval=cached"]
    );
    let message = only(&["evall"]).unwrap_err().to_string();
    assert_eq!(
        message,
        "failed to find stage `evall`; did you mean `eval`?"
    );
}

#[test]
fn stopping_kills_the_worker_and_the_next_run_goes_on() {
    let fixture = Fixture::new();
    fixture.order("hang.rm");
    let summary = std::thread::scope(|scope| {
        let run = scope.spawn(|| fixture.run());
        wait_for(&fixture.path("control").join("pid.rm"));
        stop(&fixture.cancel);
        run.join().unwrap()
    });
    assert!(summary.stopped);
    assert_eq!(states(&summary)[0], "rm=skipped");
    let pid = fs::read_to_string(fixture.path("control").join("pid.rm")).unwrap();
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists());
    fixture.revoke("hang.rm");
    fixture
        .cancel
        .store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(states(&fixture.run()), all("ran"));
}

#[test]
fn two_runs_at_once_compute_once() {
    let fixture = Fixture::new();
    fixture.order("slow.rm");
    let (first, second) = (Recorder::default(), Recorder::default());
    std::thread::scope(|scope| {
        for recorder in [&first, &second] {
            let fixture = &fixture;
            scope.spawn(move || {
                let summary = fixture.try_run(&[], &Runner::default(), recorder).unwrap();
                assert!(summary.is_complete(), "{summary:?}");
            });
        }
    });
    let mut worked = fixture.worked();
    worked.sort();
    assert_eq!(worked, ["eval", "gen", "rm", "scored"]);
    let waited = |recorder: &Recorder| {
        recorder.0.lock().unwrap().iter().any(|event| {
            matches!(event, RunEvent::StageWaiting { holder: Some(holder), .. }
                if holder.pid == std::process::id())
        })
    };
    assert!(waited(&first) || waited(&second));
}

#[test]
fn a_result_says_where_it_came_from() {
    let fixture = Fixture::new();
    fixture.run();
    let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
    let rm = view.stage("rm").unwrap();
    let record = rm.record.as_ref().unwrap();
    assert_eq!(record.metrics["rows"], 1);
    assert_eq!(record.provenance.timings["total"], 0.5);
    assert_eq!(record.provenance.seed, Some(0));
    assert_eq!(record.inputs[1].name, "helpful");
    assert!(rm.outputs["model"].join("config.json").is_file());
    let responses = &view.stage("gen").unwrap().outputs["responses.jsonl"];
    assert_eq!(responses.file_name().unwrap(), "responses.jsonl");
    let beside = fixture.path("outputs/toy/gen");
    assert_eq!(
        fs::read(beside.join("responses.jsonl")).unwrap(),
        fs::read(responses).unwrap()
    );
    assert!(beside.join("stage.json").is_file());
    assert!(!fixture.path("outputs/toy/rm/model").exists());
}

#[test]
fn the_journal_keeps_logs_and_events() {
    let fixture = Fixture::new();
    let id = fixture.run().run_id;
    let run = fixture.cache().join("runs").join(id);
    let log = fs::read_to_string(run.join("logs/rm.log")).unwrap();
    assert!(log.contains("text on standard error") && log.contains("a line for the log"));
    let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
    for line in events.lines() {
        serde_json::from_str::<RunEvent>(line).unwrap();
    }
    assert!(run.join("run.json").is_file());
}

#[test]
fn export_copies_into_an_empty_directory_only() {
    let fixture = Fixture::new();
    let to = fixture.path("exported");
    let export = || engine::export(&fixture.experiment, &fixture.site, "rm", &to);
    let message = export().unwrap_err().to_string();
    assert!(message.contains("run the experiment first"), "{message}");
    fixture.run();
    assert_eq!(export().unwrap().len(), 2);
    assert!(
        !fs::symlink_metadata(to.join("config.json"))
            .unwrap()
            .is_symlink()
    );
    let message = export().unwrap_err().to_string();
    assert!(message.contains("not empty"), "{message}");
}
