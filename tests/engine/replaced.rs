//! A damaged result made anew to other bytes: what took the old ones follows.

use std::fs;

use moreline::digest::Digest;
use moreline::engine::{self, Silent};
use moreline::store::ActionRecord;

use super::damage::{flip, trust_in_memo};
use super::fixture::{Fixture, Runner, states, wait_for};
use super::layers;

/// Damages the model of `rm` so that only its use shows it.
fn damage_model(fixture: &Fixture) {
    let model = fixture.object("rm", "model");
    let object = fs::canonicalize(model.join("model.safetensors")).unwrap();
    flip(&object);
    trust_in_memo(fixture, &object);
}

/// The digest of the model that a stage took, and of the one that `rm` gave.
fn taken_and_given(fixture: &Fixture, stage: &str) -> (Digest, Digest) {
    let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
    let record = |name: &str| view.stage(name).unwrap().record.clone().unwrap();
    let taken = record(stage).inputs;
    let taken = taken.iter().find(|input| input.role == "model").unwrap();
    (taken.digest, record("rm").outputs["model"].digest)
}

fn assert_all_follow(fixture: &Fixture) {
    for stage in ["eval", "scored"] {
        let (taken, given) = taken_and_given(fixture, stage);
        assert_eq!(taken, given, "{stage}");
    }
    let again = states(&fixture.run());
    assert!(again.iter().all(|state| state.ends_with("=cached")));
}

/// `eval` was found in the store before `scored` came upon the damage.
#[test]
fn a_stage_that_was_done_is_computed_for_the_new_bytes() {
    let mut fixture = Fixture::new();
    fixture.run();
    damage_model(&fixture);
    fixture.worked();
    fixture.set("scored", "precision", "fp32".into());
    fixture.order("const.rm");
    let summary = fixture.run();
    let ran = ["rm=ran", "eval=ran", "gen=cached", "scored=ran", "best=ran"];
    assert_eq!(states(&summary), ran);
    let mut worked = fixture.worked();
    worked.sort();
    assert_eq!(worked, ["eval", "rm", "scored"]);
    assert_all_follow(&fixture);
}

/// Its result for the new bytes is there already: it is found, not computed.
#[test]
fn a_stage_that_was_done_is_found_for_the_new_bytes() {
    let mut fixture = Fixture::new();
    fixture.order("const.rm");
    fixture.run();
    fixture.revoke("const.rm");
    let (summary, _) = layers::run(&fixture, &["rm"]);
    assert!(summary.is_complete());
    damage_model(&fixture);
    fixture.worked();
    fixture.set("scored", "precision", "fp32".into());
    fixture.order("const.rm");
    let summary = fixture.run();
    assert_eq!(fixture.worked(), ["rm", "scored"]);
    let found = [
        "rm=ran",
        "eval=cut-off",
        "gen=cached",
        "scored=ran",
        "best=ran",
    ];
    assert_eq!(states(&summary), found);
    assert_all_follow(&fixture);
}

/// `eval` is at work on the old bytes when they are replaced: who can tell whether
/// it read them before they were damaged?
#[test]
fn a_stage_that_is_at_work_is_looked_at_again_when_it_is_over() {
    let mut fixture = Fixture::new();
    fixture.site.devices = vec!["cpu".into(), "cpu".into()];
    for stage in ["gen", "eval"] {
        fixture.order(&format!("hold.{stage}"));
    }
    let summary = std::thread::scope(|scope| {
        let run = scope.spawn(|| fixture.try_run(&[], &Runner::default(), &Silent));
        wait_for(&fixture.path("control/job.gen"));
        wait_for(&fixture.path("control/job.eval"));
        let model = fixture.object("rm", "model");
        flip(&fs::canonicalize(model.join("model.safetensors")).unwrap());
        fixture.order("const.rm");
        fs::remove_file(fixture.path("control/job.rm")).unwrap();
        fixture.revoke("hold.gen");
        // `scored` has come upon the damage and `rm` was made anew.
        wait_for(&fixture.path("control/job.scored"));
        fixture.revoke("hold.eval");
        run.join().unwrap().unwrap()
    });
    let ran = ["rm=ran", "eval=ran", "gen=ran", "scored=ran", "best=ran"];
    assert_eq!(states(&summary), ran);
    let worked = fixture.worked();
    let times = |name: &str| worked.iter().filter(|stage| *stage == name).count();
    assert_eq!(["rm", "eval", "scored"].map(times), [2, 2, 1], "{worked:?}");
    let store = engine::store(&fixture.experiment, &fixture.site);
    let evaluated = |record: &&ActionRecord| record.stage == "eval";
    assert_eq!(store.records().unwrap().iter().filter(evaluated).count(), 1);
    assert_all_follow(&fixture);
}
