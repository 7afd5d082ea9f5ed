//! Models that a training gives on its way, and the sets it is evaluated on.

use std::fs;

use moreline::engine;
use moreline_protocol::job::Job;
use serde_json::json;

use super::fixture::{Fixture, Runner, error, states};

/// `rm` gives the models after these steps, and `eval` takes that after step 4.
fn fixture(steps: &str) -> Fixture {
    let mut fixture = Fixture::new();
    fs::write(fixture.path("control/save.rm"), steps).unwrap();
    fixture.set("rm", "save_every", json!(2));
    fixture.set("eval", "model", json!("rm@step-4"));
    fixture
}

fn job(fixture: &Fixture, stage: &str) -> Job {
    let path = fixture.path(&format!("control/job.{stage}"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_stage_takes_the_model_after_a_step() {
    let fixture = fixture("2 4 6");
    assert_eq!(fixture.why("eval"), "depends on rm");
    assert!(fixture.run().is_complete());
    assert_eq!(job(&fixture, "rm").wanted_steps, [4]);
    let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
    let outputs = &view.stage("rm").unwrap().outputs;
    let names: Vec<_> = outputs.keys().map(String::as_str).collect();
    let steps = ["model@step-2", "model@step-4", "model@step-6"];
    assert_eq!(names[2..], [&["model"], &steps[..]].concat());
    let taken = &job(&fixture, "eval").inputs[0].path;
    let text = |path: &std::path::Path| fs::read_to_string(path.join("model.safetensors")).unwrap();
    assert_eq!(text(taken), text(&outputs["model@step-4"]));
    assert!(text(taken).ends_with(" 4\n"));
    let record = view.stage("eval").unwrap().record.clone().unwrap();
    assert_eq!(record.inputs[0].source, "rm/model@step-4");
    assert!(fixture.run().stages.iter().all(|s| s.seconds == 0.0));
}

#[test]
fn another_step_is_a_reason_and_the_same_bytes_are_none() {
    let mut fixture = fixture("2 4 6");
    fixture.order("const.rm");
    assert!(fixture.run().is_complete());
    fixture.set("eval", "model", json!("rm@step-6"));
    assert_eq!(fixture.why("eval"), "model `rm` changed");
    assert_eq!(states(&fixture.run())[1], "eval=ran");
    // Made anew to the same bytes, the training is no reason.
    fixture.set("rm", "lr", json!(3e-5));
    let states = states(&fixture.run());
    assert_eq!(states[..2], ["rm=ran", "eval=cut-off"]);
}

#[test]
fn a_step_that_was_not_reached_is_named() {
    let fixture = fixture("2");
    let summary = fixture.run();
    assert_eq!(states(&summary)[..2], ["rm=ran", "eval=failed"]);
    insta::assert_snapshot!(
        error(&summary, "eval").message,
        @"missing `rm@step-4`: the training ended before that step; the last is `rm@step-2`"
    );
    let summary = fixture.run();
    assert_eq!(states(&summary)[..2], ["rm=cached", "eval=failed"]);
}

#[test]
fn a_step_the_settings_exclude_is_refused_by_the_graph() {
    let refused = |fixture: &Fixture| {
        let run = fixture.try_run(&[], &Runner::default(), &engine::Silent);
        run.unwrap_err().to_string()
    };
    let mut fixture = fixture("2 4 6");
    fixture.set("eval", "model", json!("rm@step-5"));
    insta::assert_snapshot!(
        refused(&fixture),
        @"stage `eval` takes `rm@step-5`, which is never given: a training with `save_every` gives the models after its multiples"
    );
    fixture.set("eval", "model", json!("rm@step-8"));
    fixture.set("rm", "steps", json!(7));
    let late = refused(&fixture);
    assert!(late.contains("`rm@step-8`"), "{late}");
    fixture.set("eval", "model", json!("base@step-2"));
    assert!(refused(&fixture).contains("`base@step-2`"));
}

#[test]
fn a_model_after_a_step_can_be_exported() {
    let fixture = fixture("2 4");
    assert!(fixture.run().is_complete());
    let to = fixture.path("exported");
    engine::export(&fixture.experiment, &fixture.site, "rm@step-2", &to).unwrap();
    let text = fs::read_to_string(to.join("model.safetensors")).unwrap();
    assert!(text.ends_with(" 2\n"), "{text}");
    let to = fixture.path("late");
    let none = engine::export(&fixture.experiment, &fixture.site, "rm@step-6", &to);
    assert!(
        none.unwrap_err()
            .to_string()
            .contains("lacks `model@step-6`")
    );
}

#[test]
fn held_out_sets_are_inputs() {
    let mut fixture = Fixture::new();
    let rows = fixture.experiment.data["helpful"].clone();
    fs::copy(fixture.path("helpful.jsonl"), fixture.path("held.jsonl")).unwrap();
    let held = moreline::config::RowsDecl {
        path: fixture.path("held.jsonl"),
        ..rows
    };
    fixture.experiment.data.insert("held".into(), held);
    fixture.set("rm", "evaluate_on", json!("held"));
    fixture.set("rm", "evaluate_limit", json!(7));
    fixture.set("rm", "limit", json!(3));
    assert!(fixture.run().is_complete());
    let inputs = job(&fixture, "rm").inputs;
    let found = inputs
        .iter()
        .map(|i| (i.role.as_str(), i.name.as_str(), i.rows.limit));
    let expected = [
        ("model", "model", None),
        ("data", "helpful", Some(3)),
        ("evaluate_on", "held", Some(7)),
    ];
    assert!(found.eq(expected), "{inputs:?}");
    fs::write(fixture.path("held.jsonl"), "{}\n").unwrap();
    assert_eq!(fixture.why("rm"), "evaluate_on `held` changed");
    fs::copy(fixture.path("helpful.jsonl"), fixture.path("held.jsonl")).unwrap();
    fixture.set("rm", "patience", json!(3));
    assert!(
        fixture.why("rm").contains("patience"),
        "{}",
        fixture.why("rm")
    );
    // Without sets to evaluate on, and with checkpoints at other times, the key
    // is that of before.
    let spec = |value| serde_json::to_value(value).unwrap();
    let plain = spec(&Fixture::new().stage_mut("rm").spec);
    assert!(plain.get("patience").is_none() && plain.get("keep_best").is_none());
}
