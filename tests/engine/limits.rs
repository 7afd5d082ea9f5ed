//! What stages may use at once: devices and memory.

use moreline::config::Limits;

use super::fixture::{Fixture, Recorder, Runner, error, states};
use super::layers::files;

/// Two independent stages, `rm` and `gen`, on these devices.
fn two_roots(devices: &[&str]) -> Fixture {
    let mut fixture = Fixture::new();
    let roots = ["rm", "gen"];
    let stages = &mut fixture.experiment.stages;
    stages.retain(|stage| roots.contains(&stage.name.as_str()));
    fixture.site.devices = devices.iter().map(|name| (*name).to_owned()).collect();
    fixture
}

fn limit(fixture: &mut Fixture, megabytes: u32) {
    fixture.site.limits = Limits {
        memory_mb: Some(megabytes),
    };
}

/// Runs; true if both stages were at work at once.
fn overlap(fixture: &Fixture) -> bool {
    let recorder = Recorder::default();
    let run = fixture.try_run(&[], &Runner::default(), &recorder);
    let summary = run.unwrap();
    assert_eq!(states(&summary), ["rm=ran", "gen=ran"]);
    recorder.at_work().iter().any(|stages| stages.len() > 1)
}

/// Each stage waits for the other to begin: alone they fail.
fn must_meet(fixture: &Fixture) {
    for (stage, other) in [("rm", "gen"), ("gen", "rm")] {
        let _ = std::fs::remove_file(fixture.path("control").join(format!("job.{stage}")));
        fixture.tell(&format!("meet.{stage}"), other);
    }
}

fn peaks(fixture: &Fixture, megabytes: u32) {
    for stage in ["rm", "gen"] {
        fixture.tell(&format!("peak.{stage}"), &megabytes.to_string());
    }
}

/// Other parameters: both stages are to be computed again.
fn change(fixture: &mut Fixture, seed: u64) {
    for stage in ["rm", "gen"] {
        fixture.set(stage, "seed", seed.into());
    }
}

/// Two stages that held 400 of 1,000 MB when they last ran, and are to run again.
fn known() -> Fixture {
    let mut fixture = two_roots(&["cpu", "cpu"]);
    limit(&mut fixture, 1000);
    peaks(&fixture, 400);
    // Nothing is known of them yet: each runs alone.
    assert!(!overlap(&fixture));
    change(&mut fixture, 1);
    fixture
}

#[test]
fn a_device_named_twice_takes_two_stages_at_once() {
    let fixture = two_roots(&["cuda:0", "cuda:0"]);
    must_meet(&fixture);
    assert!(overlap(&fixture));
}

#[test]
fn a_device_named_once_takes_one_stage_at_a_time() {
    assert!(!overlap(&two_roots(&["cuda:0"])));
}

#[test]
fn stages_share_memory_by_what_they_held_when_they_last_ran() {
    let mut fixture = known();
    peaks(&fixture, 600);
    must_meet(&fixture);
    assert!(overlap(&fixture));
    fixture.revoke("meet.rm");
    fixture.revoke("meet.gen");
    // By the last results they do not fit any more.
    change(&mut fixture, 2);
    assert!(!overlap(&fixture));
}

#[test]
fn a_stage_that_never_ran_may_need_as_much_as_the_largest_of_its_kind() {
    let mut fixture = known();
    for (index, name) in ["rm-b", "gen-b"].into_iter().enumerate() {
        fixture.experiment.stages[index].name = name.into();
    }
    let recorder = Recorder::default();
    fixture.tell("meet.rm-b", "gen-b");
    fixture.tell("meet.gen-b", "rm-b");
    let run = fixture.try_run(&[], &Runner::default(), &recorder);
    assert!(run.unwrap().is_complete());
}

#[test]
fn workers_on_gpus_do_not_count() {
    let mut fixture = two_roots(&["cuda:0", "cuda:1"]);
    limit(&mut fixture, 1);
    must_meet(&fixture);
    assert!(overlap(&fixture));
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_holds_more_than_all_may_is_ended_and_keeps_its_checkpoints() {
    let mut fixture = two_roots(&["cpu"]);
    limit(&mut fixture, 60);
    fixture.order("heavy.rm");
    let summary = fixture.run();
    assert_eq!(states(&summary), ["rm=failed", "gen=ran"]);
    let failure = error(&summary, "rm");
    for part in ["`rm`", "MB, more than the 60 MB", "`memory_mb`", "[limits]"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    assert!(failure.hint.unwrap().contains("checkpoint"));
    let kept = files(&fixture.cache().join("partial"));
    assert!(kept.iter().any(|file| file.ends_with("checkpoint")));
    fixture.revoke("heavy.rm");
    assert!(fixture.run().is_complete());
}
