mod check;
mod import;
mod select;

use std::fs;
use std::path::Path;

use moreline_protocol::PROTOCOL_VERSION;
use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::job::{Input, Job, Resources, RowRange};
use moreline_protocol::spec::StageSpec;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

/// A job in a directory of its own, with one input file.
fn job(role: &str, content: &str, spec: StageSpec) -> (TempDir, Job) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["out", "partial"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let path = dir.path().join("input.jsonl");
    fs::write(&path, content).unwrap();
    let job = Job {
        protocol: PROTOCOL_VERSION,
        stage: "test".into(),
        spec,
        inputs: vec![Input {
            role: role.into(),
            name: "input".into(),
            artifact: ArtifactType::Preferences,
            path,
            rows: RowRange::default(),
        }],
        output_dir: dir.path().join("out"),
        partial_dir: dir.path().join("partial"),
        wanted_steps: Vec::new(),
        resources: Resources::default(),
    };
    (dir, job)
}

fn output(job: &Job, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(job.output_dir.join(name)).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str(line).unwrap());
    rows.collect()
}

/// A message and its hint, without the directory's name.
fn shown(error: &RecordsError, dir: &Path) -> String {
    let message = error
        .to_string()
        .replace(&format!("{}/", dir.display()), "");
    match error.hint() {
        Some(hint) => format!("{message}\n  help: {hint}"),
        None => message,
    }
}
