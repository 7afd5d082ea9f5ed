//! Every stage and its results, for programs.

use std::collections::BTreeMap;
use std::path::Path;

use moreline_protocol::event::{Fingerprint, Metrics};
use moreline_protocol::spec::StageSpec;
use serde::Serialize;
use serde_json::{Map, Value};

use super::evaluations::Comparison;
use super::input::{ReportInput, ReportStage, RunFacts, StageStatus};

/// Version of the form of `results.json`; raised when a field changes meaning.
const FORMAT: u32 = 1;

/// `results.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Results {
    format: u32,
    experiment: String,
    title: String,
    smoke: bool,
    /// All that depends on time and machine, but for the stages' own times.
    run: RunFacts,
    stages: Vec<StageResults>,
    /// Reward models that were evaluated on the same records, two at a time.
    comparisons: Vec<Comparison>,
}

/// One stage of `results.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct StageResults {
    name: String,
    base: String,
    kind: &'static str,
    cell: Map<String, Value>,
    state: StageStatus,
    key: Option<String>,
    error: Option<String>,
    metrics: Metrics,
    seconds: Option<f64>,
    timings: BTreeMap<String, f64>,
    outputs: BTreeMap<String, OutputResults>,
    spec: StageSpec,
    fingerprint: Option<Fingerprint>,
}

/// One output of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct OutputResults {
    /// Relative to the report, if it lies below it; other places differ
    /// between machines and are for the command line to tell.
    path: Option<String>,
    digest: Option<String>,
}

impl Results {
    /// The results, with paths relative to `dir` where they lie in it.
    pub(super) fn new(input: &ReportInput, comparisons: Vec<Comparison>, dir: &Path) -> Self {
        Self {
            format: FORMAT,
            experiment: input.name.clone(),
            title: input.title.clone(),
            smoke: input.smoke,
            run: input.run.clone(),
            stages: input.stages.iter().map(|s| stage(s, dir)).collect(),
            comparisons,
        }
    }
}

fn stage(stage: &ReportStage, dir: &Path) -> StageResults {
    let cell = stage.cell.iter();
    StageResults {
        name: stage.name.clone(),
        base: stage.base.clone(),
        kind: stage.kind().name(),
        cell: cell
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect(),
        state: stage.state,
        key: stage.key.clone(),
        error: stage.error.clone(),
        metrics: stage.metrics.clone(),
        seconds: stage.seconds,
        timings: stage.timings.clone(),
        outputs: outputs(stage, dir),
        spec: stage.spec.clone(),
        fingerprint: stage.fingerprint.clone(),
    }
}

fn outputs(stage: &ReportStage, dir: &Path) -> BTreeMap<String, OutputResults> {
    let mut outputs = BTreeMap::<String, OutputResults>::new();
    for (name, path) in &stage.outputs {
        let below = path.strip_prefix(dir).ok();
        outputs.entry(name.clone()).or_default().path =
            below.map(|path| path.to_string_lossy().into_owned());
    }
    for (name, digest) in &stage.digests {
        outputs.entry(name.clone()).or_default().digest = Some(digest.clone());
    }
    outputs
}
