//! Random kills (SIGKILL) of workers and of the engine while models train: what
//! a plain run ends with afterwards is the same, to the byte. The moments are
//! seeded; where exactly they fall differs from machine to machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::event::Event;
use moreline_protocol::job::Job;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::tiny::{
    Bench, Worker, answered_prompts, assert_same_files, clear_pairs, input, preferences, run,
};

/// More steps than all kills of a job can let pass.
const STEPS: u64 = 60;

/// Of each job.
const KILLS: u64 = 4;

fn reward_job(bench: &Bench, name: &str, method: &str, precision: &str) -> Job {
    let set = |set: &str| {
        let path = bench.rows(&format!("{set}.jsonl"), &clear_pairs(set, 12));
        preferences(set, &path)
    };
    let spec = json!({
        "kind": "train-reward", "model": "base", "data": ["kind", "calm"], "method": method,
        "precision": precision, "steps": STEPS, "batch": 8, "lr": 1e-3, "max_length": 128,
        "checkpoint_every": 1,
    });
    bench.job(name, spec, vec![bench.base(), set("kind"), set("calm")])
}

fn sft_job(bench: &Bench, name: &str, precision: &str) -> Job {
    let path = bench.rows("answers.jsonl", &answered_prompts(8));
    let spec = json!({
        "kind": "sft", "model": "base", "data": "answers", "precision": precision,
        "steps": STEPS, "batch": 4, "lr": 1e-3, "max_length": 128, "checkpoint_every": 1,
    });
    let data = input("data", "answers", ArtifactType::Prompts, &path);
    bench.job(name, spec, vec![bench.base(), data])
}

/// Kills a worker after a random number of events and then up to six
/// milliseconds, about as long as a step with its checkpoint takes.
fn kill_somewhere(job: &Job, random: &mut ChaCha8Rng) {
    let mut worker = Worker::start(job);
    for _ in 0..random.random_range(0..12) {
        match worker.next_event() {
            Some(Event::Finished { .. } | Event::Failed { .. }) | None => {
                panic!("{}: ended before it could be killed", job.stage)
            }
            Some(_) => {}
        }
    }
    std::thread::sleep(Duration::from_micros(random.random_range(0..6000)));
    assert!(worker.kill(), "{}: ended before it was killed", job.stage);
    // As the engine does before it runs a stage again.
    fs::remove_dir_all(&job.output_dir).unwrap();
    fs::create_dir(&job.output_dir).unwrap();
}

/// Runs a job undisturbed, and another killed again and again.
fn check(seed: u64, make: impl Fn(&Bench, &str) -> Job) {
    let bench = Bench::new();
    run(&make(&bench, "undisturbed"));
    let killed = make(&bench, "killed");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..KILLS {
        kill_somewhere(&killed, &mut random);
    }
    run(&killed);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}

#[test]
fn uniform_training_in_fp32_survives_random_kills() {
    check(1, |bench, name| reward_job(bench, name, "uniform", "fp32"));
}

#[test]
fn uniform_training_in_bf16_survives_random_kills() {
    check(2, |bench, name| reward_job(bench, name, "uniform", "bf16"));
}

#[test]
fn more_training_in_fp32_survives_random_kills() {
    check(3, |bench, name| reward_job(bench, name, "more", "fp32"));
}

#[test]
fn more_training_in_bf16_survives_random_kills() {
    check(4, |bench, name| reward_job(bench, name, "more", "bf16"));
}

#[test]
fn fine_tuning_in_fp32_survives_random_kills() {
    check(5, |bench, name| sft_job(bench, name, "fp32"));
}

#[test]
fn fine_tuning_in_bf16_survives_random_kills() {
    check(6, |bench, name| sft_job(bench, name, "bf16"));
}

/// A checkpoint whose writing was cut short, at any length: the one before it
/// is taken.
#[test]
fn a_checkpoint_cut_short_is_passed_over() {
    let bench = Bench::new();
    let make = |name: &str| sft_job(&bench, name, "fp32");
    run(&make("undisturbed"));
    let killed = make("killed");
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for share in [0.0, 0.3, 1.0] {
        kill_somewhere(&killed, &mut random);
        let [whole, fresh] =
            ["checkpoint", "checkpoint.new"].map(|name| killed.partial_dir.join(name));
        let Ok(bytes) = fs::read(whole.join("tensors.safetensors")) else {
            continue;
        };
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir(&fresh).unwrap();
        let written = (share * bytes.len() as f64) as usize;
        fs::write(fresh.join("tensors.safetensors"), &bytes[..written]).unwrap();
    }
    run(&killed);
    assert_same_files(&bench.path("undisturbed"), &bench.path("killed"));
}

/// The engine's program, built beside the worker's.
fn engine() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_moreline-worker")).with_file_name("moreline");
    let missing = format!("{} is missing: run `make build`", path.display());
    assert!(path.exists(), "{missing}");
    path
}

/// An experiment of a reward model and a fine-tuned one in the bench's folder.
fn write_experiment(bench: &Bench) {
    bench.rows("kind.jsonl", &clear_pairs("kind", 12));
    bench.rows("answers.jsonl", &answered_prompts(8));
    let stage = |lines: &str| {
        format!(
            "{lines}\nmodel = \"base\"\nsteps = {STEPS}\nlr = 1e-3\nmax_length = 128\ncheckpoint_every = 1\n"
        )
    };
    let text = [
        "[model.base]\nsource = \"model\"\n".to_owned(),
        "[data.kind]\npath = \"kind.jsonl\"\n".to_owned(),
        "[prompts.answers]\npath = \"answers.jsonl\"\n".to_owned(),
        stage("[stage.reward]\nkind = \"train-reward\"\ndata = \"kind\"\nbatch = 8"),
        stage("[stage.tuned]\nkind = \"sft\"\ndata = \"answers\"\nbatch = 4"),
    ];
    fs::write(bench.path("toy.toml"), text.concat()).unwrap();
    let site = format!(
        "cache = \"cache\"\nthreads = 1\nworker = \"{}\"\n",
        env!("CARGO_BIN_EXE_moreline-worker")
    );
    fs::write(bench.path("moreline.toml"), site).unwrap();
}

fn moreline(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = Command::new(engine());
    command
        .args(arguments)
        .current_dir(bench.path(""))
        .env("HOME", bench.path(""))
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn succeed(mut command: Command) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

#[test]
fn training_survives_random_kills_of_the_engine() {
    let (undisturbed, killed) = (Bench::new(), Bench::new());
    let mut random = ChaCha8Rng::seed_from_u64(8);
    for bench in [&undisturbed, &killed] {
        write_experiment(bench);
    }
    for _ in 0..8 {
        let mut child = moreline(&killed, &["run", "toy.toml"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.random_range(50..900)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for bench in [&undisturbed, &killed] {
        succeed(moreline(bench, &["run", "toy.toml"]));
        for stage in ["reward", "tuned"] {
            succeed(moreline(bench, &["export", "toy.toml", stage, stage]));
        }
    }
    for stage in ["reward", "tuned"] {
        assert_same_files(&undisturbed.path(stage), &killed.path(stage));
    }
}
