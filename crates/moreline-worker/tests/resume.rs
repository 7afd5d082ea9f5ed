//! A killed stage, run again, gives the bytes of one that nothing disturbed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::event::Event;
use moreline_protocol::job::Job;
use moreline_protocol::spec::{Schedule, StageSpec};
use serde_json::{Value, json};

use crate::tiny::{
    Bench, Worker, answered_prompts, assert_same_files, clear_pairs, input, preferences,
    reward_model, run, run_with_events,
};

/// Kills the worker once it has told of optimiser step `step`.
fn kill_after_step(job: &Job, step: u64) {
    let mut worker = Worker::start(job);
    loop {
        match worker.next_event() {
            Some(Event::Scalars { step: now, .. }) if now >= step => break,
            Some(Event::Finished { .. }) | None => panic!("ended before step {step}"),
            Some(_) => {}
        }
    }
    assert!(worker.kill(), "finished before it could be killed");
    clear_outputs(job);
}

/// Kills the worker once its journal holds `lines` lines.
fn kill_after_records(job: &Job, lines: usize) {
    let mut worker = Worker::start(job);
    let journal = job.partial_dir.join("journal.jsonl");
    let count = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.iter().filter(|&&byte| byte == b'\n').count()
    };
    while count(&journal) < lines {
        let ended = worker.child.try_wait().unwrap();
        assert!(ended.is_none(), "ended before {lines} records");
        std::thread::sleep(Duration::from_micros(500));
    }
    assert!(worker.kill(), "finished before it could be killed");
    clear_outputs(job);
}

/// As the engine does before it runs a stage again.
fn clear_outputs(job: &Job) {
    fs::remove_dir_all(&job.output_dir).unwrap();
    fs::create_dir(&job.output_dir).unwrap();
}

/// Runs the job to its end; the step after which it went on.
fn resumed(job: &Job) -> u64 {
    let (_, events) = run_with_events(job);
    let told = events.iter().find_map(|event| match event {
        Event::Log { message, .. } => message.strip_prefix("going on after step "),
        _ => None,
    });
    told.expect("it started over").parse().unwrap()
}

fn reward_job(bench: &Bench, name: &str, steps: u64) -> Job {
    let set = |set: &str| {
        let path = bench.rows(&format!("{set}.jsonl"), &clear_pairs(set, 12));
        preferences(set, &path)
    };
    let spec = json!({
        "kind": "train-reward", "model": "base", "data": ["kind", "calm"], "method": "more",
        "alpha": 0.7, "steps": steps, "batch": 8, "lr": 1e-3, "weight_decay": 0.1,
        "max_length": 128, "checkpoint_every": 2,
    });
    bench.job(name, spec, vec![bench.base(), set("kind"), set("calm")])
}

#[test]
fn reward_training_goes_on_after_any_kill() {
    const STEPS: u64 = 90;
    let bench = Bench::new();
    run(&reward_job(&bench, "undisturbed", STEPS));
    let killed = reward_job(&bench, "killed", STEPS);
    for step in [3, 9, 18, 28, 40, 54] {
        kill_after_step(&killed, step);
    }
    assert!(resumed(&killed) >= 52);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}

#[test]
fn training_an_adapter_goes_on_after_a_kill() {
    let bench = Bench::new();
    let job = |name: &str| {
        let mut job = reward_job(&bench, name, 60);
        let StageSpec::TrainReward(spec) = &mut job.spec else {
            unreachable!("a reward job")
        };
        spec.lora =
            serde_json::from_value(json!({"rank": 4, "alpha": 8, "save_adapter": true})).unwrap();
        spec.lm_loss = 0.1;
        spec.schedule = Schedule::Wsd;
        job
    };
    run(&job("undisturbed"));
    let mut killed = job("killed");
    kill_after_step(&killed, 7);
    kill_after_step(&killed, 24);
    // Recomputation is no part of the result.
    if let StageSpec::TrainReward(spec) = &mut killed.spec {
        spec.recompute_every = Some(2);
    }
    assert!(resumed(&killed) >= 22);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
    for file in [
        "model/model.safetensors",
        "adapter/adapter_model.safetensors",
    ] {
        assert!(bench.path("killed").join(file).exists(), "{file}");
    }
}

#[test]
fn a_kill_between_the_renames_of_a_checkpoint_is_survived() {
    let bench = Bench::new();
    run(&reward_job(&bench, "undisturbed", 40));
    let killed = reward_job(&bench, "killed", 40);
    kill_after_step(&killed, 9);
    let partial = |name: &str| killed.partial_dir.join(name);
    // Either name may hold the only whole checkpoint at the moment of the kill.
    if partial("checkpoint").exists() {
        let _ = fs::remove_dir_all(partial("checkpoint.old"));
        fs::rename(partial("checkpoint"), partial("checkpoint.old")).unwrap();
    }
    fs::create_dir_all(partial("checkpoint.new")).unwrap();
    fs::write(partial("checkpoint.new/tensors.safetensors"), "torn").unwrap();
    assert!(resumed(&killed) >= 6);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}

#[test]
fn fine_tuning_goes_on_after_a_kill() {
    let bench = Bench::new();
    let path = bench.rows("answers.jsonl", &answered_prompts(8));
    let job = |name: &str| {
        let spec = json!({
            "kind": "sft", "model": "base", "data": "answers", "steps": 60, "batch": 4,
            "lr": 1e-3, "max_length": 128, "checkpoint_every": 2,
        });
        let data = input("data", "answers", ArtifactType::Prompts, &path);
        bench.job(name, spec, vec![bench.base(), data])
    };
    run(&job("undisturbed"));
    let killed = job("killed");
    kill_after_step(&killed, 5);
    kill_after_step(&killed, 24);
    assert!(resumed(&killed) >= 22);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}

#[test]
fn generation_goes_on_after_a_kill() {
    let bench = Bench::new();
    let path = bench.rows("prompts.jsonl", &answered_prompts(10));
    let job = |name: &str| {
        let spec = json!({
            "kind": "generate", "model": "base", "prompts": "p", "samples": 64,
            "max_new_tokens": 24,
        });
        let prompts = input("prompts", "p", ArtifactType::Prompts, &path);
        bench.job(name, spec, vec![bench.base(), prompts])
    };
    run(&job("undisturbed"));
    let killed = job("killed");
    for records in [1, 3, 6] {
        kill_after_records(&killed, records);
    }
    run(&killed);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}

#[test]
fn scoring_goes_on_after_a_kill() {
    let bench = Bench::new();
    run(&reward_job(&bench, "train", 2));
    let row = |i: usize| {
        json!({
            "id": i, "prompt": [{"role": "user", "content": format!("Ask {i}")}],
            "responses": [{"text": "yes ".repeat(i % 20)}, {"text": "no"}],
        })
    };
    let rows: Vec<Value> = (0..120).map(row).collect();
    let path = bench.rows("responses.jsonl", &rows);
    let job = |name: &str| {
        let spec = json!({"kind": "score", "model": "rm", "responses": "r"});
        let responses = input("responses", "r", ArtifactType::Responses, &path);
        let model = reward_model(&bench.path("train/model"));
        let mut job = bench.job(name, spec, vec![model, responses]);
        job.resources.token_budget = 64;
        job
    };
    run(&job("undisturbed"));
    let killed = job("killed");
    for records in [1, 20, 50] {
        kill_after_records(&killed, records);
    }
    run(&killed);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}
