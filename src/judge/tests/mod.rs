mod embedded;
mod money;
mod remote;
mod server;

use std::fs;
use std::path::Path;

use moreline_protocol::PROTOCOL_VERSION;
use moreline_protocol::artifact::{ArtifactType, VERDICTS};
use moreline_protocol::event::Metrics;
use moreline_protocol::job::{Input, Job, Resources, RowRange};
use moreline_protocol::rows::{Message, VerdictRow};
use moreline_protocol::spec::StageSpec;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A judge's job in a directory of its own; the sides are written by the test.
fn job(settings: Value) -> (TempDir, Job) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["out", "partial"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let mut spec = json!({"kind": "judge", "a": "tuned", "b": "base", "resamples": 200});
    for (key, value) in settings.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let side = |role: &str| Input {
        role: role.into(),
        name: role.into(),
        artifact: ArtifactType::Responses,
        path: dir.path().join(format!("{role}.jsonl")),
        rows: RowRange::default(),
    };
    let job = Job {
        protocol: PROTOCOL_VERSION,
        stage: "judge".into(),
        spec: serde_json::from_value(spec).unwrap(),
        inputs: vec![side("a"), side("b")],
        output_dir: dir.path().join("out"),
        partial_dir: dir.path().join("partial"),
        wanted_steps: Vec::new(),
        resources: Resources::default(),
    };
    (dir, job)
}

fn judge_of(job: &Job) -> &moreline_protocol::spec::Judge {
    match &job.spec {
        StageSpec::Judge(spec) => spec,
        other => panic!("a judge, not {}", other.kind().name()),
    }
}

fn verdicts(job: &Job) -> Vec<VerdictRow> {
    let text = fs::read_to_string(job.output_dir.join(VERDICTS)).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str(line).unwrap());
    rows.collect()
}

fn number(metrics: &Metrics, name: &str) -> f64 {
    metrics[name].as_f64().unwrap()
}

/// A message and its hint, without the directory's name.
fn shown(error: &JudgeError, dir: &Path) -> String {
    let message = error
        .to_string()
        .replace(&format!("{}/", dir.display()), "");
    match error.hint() {
        Some(hint) => format!("{message}\n  help: {hint}"),
        None => message,
    }
}
