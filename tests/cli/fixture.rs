//! A directory with an experiment and a worker that is a script.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The directory; it goes away with this.
pub(super) struct Toy(TempDir);

/// What a command printed, and its exit code.
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Toy {
    pub(super) fn new() -> Self {
        let toy = Self(tempfile::tempdir().expect("a temporary directory"));
        let control = toy.path("control");
        fs::create_dir(&control).expect("a directory");
        fs::create_dir(toy.path("model")).expect("a directory");
        let pair = r#"{"prompt":"Say hello.","chosen":"Hello.","rejected":"No."}"#;
        toy.write("helpful.jsonl", &format!("{pair}\n"));
        toy.write("harmless.jsonl", &format!("{pair}\n"));
        toy.write("prompts.jsonl", "{\"prompt\":\"Say hello.\"}\n");
        toy.write("model/config.json", &model_config().to_string());
        fs::write(toy.path("model/model.safetensors"), weights()).expect("a file");
        let tokenizer = json!({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}});
        toy.write("model/tokenizer.json", &tokenizer.to_string());
        let worker = include_str!("worker.sh").replace("@CONTROL@", &control.to_string_lossy());
        toy.write("worker.sh", &worker);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(toy.path("worker.sh"), executable).expect("permissions");
        toy.write(
            "moreline.toml",
            "worker = \"worker.sh\"\ncache = \"cache\"\n",
        );
        toy.write("toy.toml", include_str!("toy.toml"));
        toy
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// Makes the worker misbehave: `fail.rm:more`, `hang.sample`.
    pub(super) fn order(&self, action: &str) {
        self.write(&format!("control/{action}"), "");
    }

    pub(super) fn revoke(&self, action: &str) {
        fs::remove_file(self.path("control").join(action)).expect("an order");
    }

    /// The program with arguments, in this directory.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moreline"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().expect("the program");
        self.said(&output)
    }

    /// What was printed, with the directory's name taken out.
    pub(super) fn said(&self, output: &Output) -> Said {
        let directory = self.0.path().canonicalize().expect("a directory");
        let directory = directory.display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&directory, "DIR");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// The JSON a command printed, and its exit code.
    pub(super) fn json(&self, arguments: &[&str]) -> (Value, i32) {
        let said = self.run(arguments);
        let value = serde_json::from_str(&said.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", said.out, said.err));
        (value, said.code)
    }
}

impl Said {
    /// Exit code, standard output and standard error for a snapshot, with
    /// times, digests and dates made equal.
    pub(super) fn snapshot(&self) -> String {
        format!(
            "exit code {}\n--- standard output\n{}--- standard error\n{}",
            self.code, self.out, self.err
        )
    }
}

/// What differs from run to run, and what snapshots show instead.
pub(super) const FILTERS: [(&str, &str); 7] = [
    (r"\b[0-9a-f]{64}\b", "[digest]"),
    (r"\b[0-9a-f]{12}\b", "[short]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[time]"),
    (r"\d{8}T\d{6}-[0-9a-f]{6}", "[run]"),
    (r"\b\d+(\.\d+)? m?s\b", "[seconds]"),
    (r"(?m)^(  host +).*$", "$1[host]"),
    (r"(?m)^(  process +).*$", "$1[process]"),
];

/// Waits until a file is there; half a minute at most.
pub(super) fn wait_for(path: &std::path::Path) {
    for _ in 0..3000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} was never written", path.display());
}

fn model_config() -> Value {
    json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"],
        "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "hidden_act": "silu",
    })
}

/// A safetensors file of one number.
fn weights() -> Vec<u8> {
    let header = json!({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 4]);
    bytes
}
