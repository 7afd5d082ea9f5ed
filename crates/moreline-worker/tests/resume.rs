//! A killed stage, run again, gives the bytes of one that nothing disturbed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::event::{Event, Level};
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

/// Each method carries something else from step to step: running gradients,
/// the number of the step, the course of the losses.
#[test]
fn every_method_goes_on_after_a_kill() {
    let bench = Bench::new();
    for (method, extra) in [
        (
            "more",
            json!({"first_momentum": "random-head", "weight_groups": 2}),
        ),
        ("pcgrad", json!({"weight_groups": 2})),
        ("dwa", json!({"dwa_window": 3})),
        (
            "uniform",
            json!({"mixing": "temperature", "mixing_temperature": 3.0}),
        ),
        ("uniform", json!({"group_by_task": true, "resample": 17})),
    ] {
        let first = extra.as_object().unwrap().keys().next().unwrap();
        let job = |name: &str| {
            let name = format!("{method}-{first}-{name}");
            let mut job = reward_job(&bench, &name, 50);
            let mut spec = serde_json::to_value(&job.spec).unwrap();
            spec["method"] = method.into();
            for (field, value) in extra.as_object().unwrap() {
                spec[field] = value.clone();
            }
            job.spec = serde_json::from_value(spec).unwrap();
            (job, bench.path(&name))
        };
        let ((undisturbed, whole), (killed, parts)) = (job("undisturbed"), job("killed"));
        run(&undisturbed);
        for step in [5, 14, 29] {
            kill_after_step(&killed, step);
        }
        assert!(resumed(&killed) >= 27, "{method}");
        assert_same_files(&whole, &parts);
    }
}

/// Steps with a checkpoint, ascending.
fn checkpoints(job: &Job) -> Vec<u64> {
    let entries = fs::read_dir(job.partial_dir.join("checkpoints")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut steps: Vec<u64> = names
        .filter_map(|name| name.strip_prefix("step-")?.parse().ok())
        .collect();
    steps.sort_unstable();
    steps
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
fn a_kill_while_a_checkpoint_is_written_is_survived() {
    let bench = Bench::new();
    run(&reward_job(&bench, "undisturbed", 40));
    let killed = reward_job(&bench, "killed", 40);
    kill_after_step(&killed, 9);
    let partial = |name: &str| killed.partial_dir.join(name);
    fs::create_dir_all(partial("checkpoints/new")).unwrap();
    fs::write(partial("checkpoints/new/model.safetensors"), "torn").unwrap();
    let newest = *checkpoints(&killed).last().unwrap();
    assert_eq!(resumed(&killed), newest);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let bench = Bench::new();
    run(&reward_job(&bench, "undisturbed", 40));
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("cut", |place| {
            let file = fs::File::options()
                .write(true)
                .open(place.join("model.safetensors"));
            file.unwrap().set_len(1000).unwrap();
        }),
        ("flipped", |place| {
            let path = place.join("model.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 5;
            bytes[last] ^= 1;
            fs::write(&path, bytes).unwrap();
        }),
        ("unsealed", |place| {
            fs::remove_file(place.join("seal.json")).unwrap()
        }),
    ];
    for (name, damage) in damages {
        let killed = reward_job(&bench, name, 40);
        kill_after_step(&killed, 9);
        let steps = checkpoints(&killed);
        // The last two are kept.
        assert_eq!(steps.len(), 2, "{steps:?}");
        assert_eq!(steps[1], steps[0] + 2);
        let newest = format!("checkpoints/step-{}", steps[1]);
        damage(&killed.partial_dir.join(newest));
        assert_eq!(resumed(&killed), steps[0], "{name}");
        assert_same_files(&bench.path("undisturbed"), &bench.path(name));
    }
}

#[test]
fn a_training_whose_checkpoints_are_all_damaged_starts_over() {
    let bench = Bench::new();
    run(&reward_job(&bench, "undisturbed", 20));
    let killed = reward_job(&bench, "killed", 20);
    kill_after_step(&killed, 9);
    for step in checkpoints(&killed) {
        let place = killed.partial_dir.join(format!("checkpoints/step-{step}"));
        fs::write(place.join("state.json"), "{}").unwrap();
    }
    let (_, events) = run_with_events(&killed);
    let warnings = events.iter().filter(|event| {
        matches!(event, Event::Log { level: Level::Warn, message }
            if message.contains("is left out: state.json has 2 bytes of"))
    });
    assert_eq!(warnings.count(), 2);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}

#[test]
fn minutes_count_as_well_as_steps() {
    let bench = Bench::new();
    let mut job = reward_job(&bench, "killed", 90);
    let StageSpec::TrainReward(spec) = &mut job.spec else {
        unreachable!()
    };
    spec.checkpoint_every = 1000;
    spec.checkpoint_minutes = Some(1e-6);
    spec.checkpoint_keep = 3;
    kill_after_step(&job, 9);
    assert_eq!(checkpoints(&job).len(), 3);
}

/// A training with everything that a checkpoint has to carry: the best weights
/// so far, the patience that is left, the models on the way.
fn watched_job(bench: &Bench, name: &str) -> Job {
    let mut job = reward_job(bench, name, 60);
    let mut spec = serde_json::to_value(&job.spec).unwrap();
    for (field, value) in [
        ("evaluate_on", json!("held_out")),
        ("evaluate_every", json!(3)),
        ("evaluate_at_start", json!(true)),
        ("patience", json!(9)),
        ("keep_best", json!(true)),
        ("save_every", json!(7)),
        ("checkpoint_every", json!(4)),
    ] {
        spec[field] = value;
    }
    job.spec = serde_json::from_value(spec).unwrap();
    // Loss falls, then rises: one of the held-out rows is the wrong way round.
    let mut rows = clear_pairs("held", 12);
    for row in &mut rows[..1] {
        let (chosen, rejected) = (row["chosen"].take(), row["rejected"].take());
        (row["chosen"], row["rejected"]) = (rejected, chosen);
    }
    let path = bench.rows("held_out.jsonl", &rows);
    job.inputs.push(input(
        "evaluate_on",
        "held_out",
        ArtifactType::Preferences,
        &path,
    ));
    job
}

#[test]
fn evaluation_and_intermediate_models_go_on_after_any_kill() {
    let bench = Bench::new();
    let undisturbed = run(&watched_job(&bench, "undisturbed"));
    assert_eq!(undisturbed["stopped_early"], true, "{undisturbed:?}");
    let last = undisturbed["steps"].as_u64().unwrap();
    let best = undisturbed["best_step"].as_u64().unwrap();
    assert!(0 < best && best < last && last < 60, "{undisturbed:?}");
    let killed = watched_job(&bench, "killed");
    for step in [2, best, best + 3, best + 8, last - 6, last - 1] {
        kill_after_step(&killed, step);
    }
    assert_eq!(run(&killed), undisturbed);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
    let given = bench.path("undisturbed/model@step-7");
    assert!(given.join("model.safetensors").exists());
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
