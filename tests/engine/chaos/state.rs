//! All that a user can see of an experiment's results.

use std::fs;
use std::path::{Path, PathBuf};

use moreline::digest::Digest;
use moreline::engine;

use crate::engine::fixture::Fixture;

/// Metrics, digests and bytes of every result, in the cache and beside the
/// experiment; nothing that differs from run to run.
pub(super) fn everything(fixture: &Fixture) -> Vec<String> {
    let view = engine::inspect(&fixture.experiment, &fixture.site).unwrap();
    let mut lines = Vec::new();
    for stage in view.stages {
        let record = stage.record.expect("a record");
        let metrics = serde_json::to_string(&record.metrics).unwrap();
        lines.push(format!("{} {metrics}", stage.name));
        for (name, output) in record.outputs {
            lines.push(format!("{}/{name} {}", stage.name, output.digest));
            for file in files(&stage.outputs[&name]) {
                lines.push(line(&file, &stage.outputs[&name]));
            }
        }
    }
    let beside = fixture.path("outputs");
    for file in files(&beside) {
        // It names the run.
        if !file.ends_with("stage.json") {
            lines.push(line(&file, &beside));
        }
    }
    lines
}

fn line(file: &Path, under: &Path) -> String {
    let name = file.strip_prefix(under).unwrap();
    let (digest, bytes) = Digest::of_file(file).unwrap();
    format!("{} {bytes} {digest}", name.display())
}

/// The files under a path, hidden ones too, sorted; links are followed.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path)).collect()
}

/// Processes whose command line names a path in this directory.
pub(super) fn strays(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let command = |entry: std::io::Result<fs::DirEntry>| {
        let bytes = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        line.contains(directory).then_some(line)
    };
    processes.filter_map(command).collect()
}

/// The processes that this one started.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let child = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may hold spaces.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let of = fields.next()?.parse::<u32>().ok()?;
        (of == parent && state != "Z").then_some(pid)
    };
    processes.filter_map(child).collect()
}
