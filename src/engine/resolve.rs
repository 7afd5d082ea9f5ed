//! From what is known of a stage's inputs to its key.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use moreline_protocol::artifact::{ArtifactType, OutputName, STEP};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::StageSpec;

use super::sources::Source;
use crate::digest::Digest;
use crate::plan::{
    Dependency, Graph, InputLabel, InputVersion, KeyInput, StageInput, StageKey, StageVersion,
    stage_key,
};
use crate::store::{ActionRecord, RecordedInput, RecordedOutput};

/// What a finished stage gave.
pub(super) type Outputs = BTreeMap<String, RecordedOutput>;

/// A stage's inputs, as far as they are known.
#[derive(Debug)]
pub(super) enum Resolved {
    /// All are, and so is the key.
    Ready(ReadyStage),
    /// Some come from stages, or models, that are not there yet.
    Waiting(Vec<String>),
    /// Some are not there at all.
    Missing(Vec<String>),
}

/// A stage that could run.
#[derive(Debug, Clone)]
pub(super) struct ReadyStage {
    pub(super) key: StageKey,
    pub(super) inputs: Vec<ReadyInput>,
}

/// An input whose bytes are known.
#[derive(Debug, Clone)]
pub(super) struct ReadyInput {
    pub(super) role: &'static str,
    pub(super) name: String,
    /// The name it has in the result.
    pub(super) label: String,
    pub(super) artifact: ArtifactType,
    pub(super) rows: RowRange,
    pub(super) digest: Digest,
    pub(super) from: ReadyFrom,
}

/// Where an input's bytes are.
#[derive(Debug, Clone)]
pub(super) enum ReadyFrom {
    /// In a file or directory of the user's.
    Source(PathBuf),
    /// In the store: an output of a stage.
    Stage {
        index: usize,
        output: OutputName,
        recorded: RecordedOutput,
    },
}

/// The key and inputs of a stage, given the outputs of the stages before it.
pub(super) fn resolve(
    graph: &Graph<'_>,
    index: usize,
    sources: &HashMap<String, Source>,
    outputs: &dyn Fn(usize) -> Option<std::sync::Arc<Outputs>>,
) -> Resolved {
    let (mut ready, mut waiting, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for input in graph.inputs(index) {
        match input.from {
            Dependency::Stage {
                index: from,
                output,
            } => match outputs(from) {
                None => waiting.push(graph.stage(from).name.clone()),
                Some(outputs) => match outputs.get(&output.to_string()) {
                    Some(recorded) => ready.push(ReadyInput::from_stage(input, *recorded)),
                    None => missing.push(not_given(&graph.stage(from).name, output, &outputs)),
                },
            },
            Dependency::Model(_) | Dependency::Rows(_) => match sources.get(input.name) {
                Some(Source::Ready(source)) => {
                    let from = ReadyFrom::Source(source.path.clone());
                    ready.push(ReadyInput::new(input, source.digest, from));
                }
                Some(Source::Unpinned(model)) => {
                    waiting.push(format!("{model} (to be fetched)"));
                }
                Some(Source::Missing(what)) => missing.push(what.clone()),
                None => missing.push(format!("`{}`", input.name)),
            },
        }
    }
    waiting.sort();
    waiting.dedup();
    if !missing.is_empty() {
        return Resolved::Missing(missing);
    }
    if !waiting.is_empty() {
        return Resolved::Waiting(waiting);
    }
    let key = key_of(&graph.stage(index).spec, graph.inputs(index), &ready);
    Resolved::Ready(ReadyStage { key, inputs: ready })
}

/// A stage as it is written now. The digests of inputs that are not there yet
/// are absent.
pub(super) fn present(
    graph: &Graph<'_>,
    index: usize,
    sources: &HashMap<String, Source>,
    outputs: &dyn Fn(usize) -> Option<std::sync::Arc<Outputs>>,
) -> StageVersion {
    let version = |input: &StageInput<'_>| {
        let (digest, stage) = match input.from {
            Dependency::Stage { index, output } => {
                let recorded =
                    outputs(index).and_then(|outputs| outputs.get(&output.to_string()).copied());
                let name = graph.stage(index).name.clone();
                (recorded.map(|recorded| recorded.digest), Some(name))
            }
            Dependency::Model(_) | Dependency::Rows(_) => match sources.get(input.name) {
                Some(Source::Ready(source)) => (Some(source.digest), None),
                _ => (None, None),
            },
        };
        InputVersion {
            role: input.role.to_owned(),
            name: input.name.to_owned(),
            digest,
            rows: input.rows,
            named: matches!(input.label, InputLabel::Named(_)),
            stage,
        }
    };
    let inputs = graph.inputs(index).iter().map(version).collect();
    StageVersion::present(&graph.stage(index).spec, inputs)
}

/// A stage as it was computed.
pub(super) fn past(record: &ActionRecord) -> StageVersion {
    let input = |input: &RecordedInput| InputVersion {
        role: input.role.clone(),
        name: input.name.clone(),
        digest: Some(input.digest),
        rows: input.rows,
        named: false,
        stage: stage_of(&input.source),
    };
    StageVersion {
        kind: record.kind,
        version: record.version,
        spec: with_defaults(&record.spec),
        inputs: record.inputs.iter().map(input).collect(),
    }
}

/// A record's parameters with those that were not known when it was made at
/// their defaults: nobody changed them.
fn with_defaults(recorded: &serde_json::Value) -> serde_json::Value {
    serde_json::from_value::<StageSpec>(recorded.clone())
        .and_then(serde_json::to_value)
        .unwrap_or_else(|_| recorded.clone())
}

/// The stage in an input's recorded source: `rm/model`. Files are absolute.
fn stage_of(source: &str) -> Option<String> {
    let (stage, _) = source.rsplit_once('/')?;
    (!source.starts_with('/')).then(|| stage.to_owned())
}

/// What to say of an output that a finished stage did not give.
fn not_given(stage: &str, output: OutputName, outputs: &Outputs) -> String {
    let OutputName::Step(wanted) = output else {
        return format!("`{output}` of `{stage}`");
    };
    let steps = outputs
        .keys()
        .filter_map(|name| OutputName::parse_step(name));
    let given: BTreeSet<OutputName> = steps.collect();
    let last = given.last().map_or_else(String::new, |last| match last {
        OutputName::Step(step) => format!("; the last is `{stage}{STEP}{step}`"),
        OutputName::Declared(_) => String::new(),
    });
    format!("`{stage}{STEP}{wanted}`: the training ended before that step{last}")
}

fn key_of(spec: &StageSpec, inputs: &[StageInput<'_>], ready: &[ReadyInput]) -> StageKey {
    let inputs: Vec<_> = inputs
        .iter()
        .zip(ready)
        .map(|(input, ready)| KeyInput {
            role: input.role,
            artifact: input.artifact,
            digest: ready.digest,
            rows: input.rows,
            label: &input.label,
        })
        .collect();
    stage_key(spec, &inputs)
}

impl ReadyInput {
    fn new(input: &StageInput<'_>, digest: Digest, from: ReadyFrom) -> Self {
        Self {
            role: input.role,
            name: input.name.to_owned(),
            label: input.label.name().to_owned(),
            artifact: input.artifact,
            rows: input.rows,
            digest,
            from,
        }
    }

    fn from_stage(input: &StageInput<'_>, recorded: RecordedOutput) -> Self {
        let Dependency::Stage { index, output } = input.from else {
            return Self::new(input, recorded.digest, ReadyFrom::Source(PathBuf::new()));
        };
        let from = ReadyFrom::Stage {
            index,
            output,
            recorded,
        };
        Self::new(input, recorded.digest, from)
    }

    /// How a record keeps it.
    pub(super) fn recorded(&self, graph: &Graph<'_>) -> RecordedInput {
        let source = match &self.from {
            ReadyFrom::Source(path) => path.display().to_string(),
            ReadyFrom::Stage { index, output, .. } => {
                format!("{}/{output}", graph.stage(*index).name)
            }
        };
        RecordedInput {
            role: self.role.to_owned(),
            name: self.name.clone(),
            artifact: self.artifact,
            digest: self.digest,
            rows: self.rows,
            source,
        }
    }
}
