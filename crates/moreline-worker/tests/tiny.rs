//! A tiny model with a byte tokenizer, small data, and the real worker on them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use moreline_protocol::PROTOCOL_VERSION;
use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::event::{Event, Metrics};
use moreline_protocol::job::{Input, Job, Resources, RowRange};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::common::golden_dir;

/// A temporary folder with the tiny model in `model`.
pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        bench.model("model");
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the tiny model into the folder `name`.
    pub(crate) fn model(&self, name: &str) -> PathBuf {
        self.model_like("llama-gqa-tied", name)
    }

    /// Writes another small model, with the same tokenizer.
    pub(crate) fn model_like(&self, golden: &str, name: &str) -> PathBuf {
        let (from, to) = (golden_dir().join("models").join(golden), self.path(name));
        fs::create_dir(&to).unwrap();
        for file in ["config.json", "generation_config.json", "model.safetensors"] {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
        write_json(&to.join("tokenizer.json"), &byte_tokenizer());
        let config = json!({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"});
        write_json(&to.join("tokenizer_config.json"), &config);
        to
    }

    /// Writes rows as JSON Lines.
    pub(crate) fn rows(&self, name: &str, rows: &[Value]) -> PathBuf {
        let path = self.path(name);
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        fs::write(&path, lines).unwrap();
        path
    }

    /// A job with fresh folders of its own; `name` must be new.
    pub(crate) fn job(&self, name: &str, spec: Value, inputs: Vec<Input>) -> Job {
        let (output_dir, partial_dir) = (self.path(name), self.path(&format!("{name}.partial")));
        fs::create_dir(&output_dir).unwrap();
        fs::create_dir(&partial_dir).unwrap();
        Job {
            protocol: PROTOCOL_VERSION,
            stage: name.into(),
            spec: serde_json::from_value(spec).unwrap(),
            inputs,
            output_dir,
            partial_dir,
            wanted_steps: Vec::new(),
            resources: Resources {
                threads: Some(1),
                ..crate::common::resources()
            },
        }
    }

    /// The tiny model as an input.
    pub(crate) fn base(&self) -> Input {
        input(
            "model",
            "base",
            ArtifactType::LanguageModel,
            &self.path("model"),
        )
    }
}

/// An input with all its rows.
pub(crate) fn input(role: &str, name: &str, artifact: ArtifactType, path: &Path) -> Input {
    Input {
        role: role.into(),
        name: name.into(),
        artifact,
        path: path.into(),
        rows: RowRange::default(),
    }
}

/// A preference set as an input.
pub(crate) fn preferences(name: &str, path: &Path) -> Input {
    input("data", name, ArtifactType::Preferences, path)
}

/// A reward model as an input.
pub(crate) fn reward_model(path: &Path) -> Input {
    input("model", "rm", ArtifactType::RewardModel, path)
}

/// One token per byte, three special tokens, no merges: ids 0 to 258.
pub(crate) fn byte_tokenizer() -> Value {
    let mut vocabulary = Map::new();
    for (id, token) in ["<pad>", "<s>", "</s>"].into_iter().enumerate() {
        vocabulary.insert(token.into(), id.into());
    }
    for byte in 0..=u8::MAX {
        vocabulary.insert(byte_character(byte).into(), (u32::from(byte) + 3).into());
    }
    let special = |(id, token): (usize, &str)| {
        json!({
            "id": id, "content": token, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        })
    };
    let specials: Vec<Value> = ["<pad>", "<s>", "</s>"]
        .into_iter()
        .enumerate()
        .map(special)
        .collect();
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": specials,
        "normalizer": null,
        "pre_tokenizer": bytes,
        "post_processor": null,
        "decoder": bytes,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false,
            "vocab": vocabulary, "merges": [],
        },
    })
}

/// The printable character that byte-level tokenizers write for a byte: itself
/// where it prints, else the next unused one from U+0100 on.
fn byte_character(byte: u8) -> char {
    let prints = |b: u8| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if prints(byte) {
        return byte.into();
    }
    let before = (0..byte).filter(|&b| !prints(b)).count() as u32;
    char::from_u32(0x100 + before).unwrap()
}

pub(crate) fn write_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_vec(value).unwrap()).unwrap();
}

/// Rows whose chosen responses differ plainly from the rejected ones.
pub(crate) fn clear_pairs(set: &str, rows: usize) -> Vec<Value> {
    let row = |i: usize| {
        json!({
            "prompt": format!("Ask {set} {i}"),
            "chosen": format!("A kind {set} answer, number {i}."),
            "rejected": format!("ZXQ! QQZ {i} XXQ!"),
        })
    };
    (0..rows).map(row).collect()
}

/// Prompts with answers that share a pattern.
pub(crate) fn answered_prompts(rows: usize) -> Vec<Value> {
    let row =
        |i: usize| json!({"prompt": format!("Count {i}"), "answer": format!("one two {i} three")});
    (0..rows).map(row).collect()
}

/// A worker at work.
pub(crate) struct Worker {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
    stderr: PathBuf,
}

impl Worker {
    /// Starts the real program; its standard input stays open, as the
    /// engine's control pipe does.
    pub(crate) fn start(job: &Job) -> Self {
        let path = job.partial_dir.with_extension("job.json");
        write_json(&path, &serde_json::to_value(job).unwrap());
        let stderr = job.partial_dir.with_extension("stderr");
        let mut child = Command::new(env!("CARGO_BIN_EXE_moreline-worker"))
            .args(["run", "--job"])
            .arg(&path)
            .env("OMP_NUM_THREADS", "1")
            .env("GOMP_SPINCOUNT", "2000")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            lines,
            stderr,
        }
    }

    /// The next event; `None` once the program has ended.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let mut line = String::new();
        if self.lines.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
            return None;
        }
        Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}")))
    }

    /// Kills the program (SIGKILL) and waits for it; true if it was still alive.
    pub(crate) fn kill(mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.child.kill().unwrap();
        self.child.wait().unwrap().signal() == Some(9)
    }

    fn finish(mut self) -> (Vec<Event>, ExitStatus, String) {
        let events = std::iter::from_fn(|| self.next_event()).collect();
        let status = self.child.wait().unwrap();
        (events, status, fs::read_to_string(&self.stderr).unwrap())
    }
}

/// Runs a job that must succeed: its metrics.
pub(crate) fn run(job: &Job) -> Metrics {
    run_with_events(job).0
}

/// Runs a job that must succeed: its metrics and all events.
pub(crate) fn run_with_events(job: &Job) -> (Metrics, Vec<Event>) {
    let (events, status, stderr) = Worker::start(job).finish();
    let Some(Event::Finished { metrics, .. }) = events.last() else {
        panic!("{}: {:?}\n{stderr}", job.stage, events.last());
    };
    assert!(status.success(), "{}: {status}\n{stderr}", job.stage);
    (metrics.clone(), events)
}

/// Runs a job that must fail in order: its message and hint, temporary paths
/// replaced by `[DIR]`.
pub(crate) fn failure(bench: &Bench, job: &Job) -> String {
    let (events, status, stderr) = Worker::start(job).finish();
    let Some(Event::Failed { message, hint }) = events.last() else {
        panic!("{}: {:?}\n{stderr}", job.stage, events.last());
    };
    assert_eq!(status.code(), Some(1), "{}\n{stderr}", job.stage);
    assert!(!stderr.contains("panicked"), "{}\n{stderr}", job.stage);
    let hint = hint.as_deref().unwrap_or("(none)");
    let dir = bench.dir.path().to_str().unwrap();
    format!("failed to {message}\nhint: {hint}").replace(dir, "[DIR]")
}

/// The rows of a JSON Lines file.
pub(crate) fn read_rows<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Fails unless both folders hold the same files with the same bytes.
pub(crate) fn assert_same_files(a: &Path, b: &Path) {
    let (files_a, files_b) = (files(a), files(b));
    assert!(!files_a.is_empty());
    assert_eq!(files_a, files_b);
    for file in files_a {
        let same = fs::read(a.join(&file)).unwrap() == fs::read(b.join(&file)).unwrap();
        assert!(same, "{} differs", file.display());
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}
