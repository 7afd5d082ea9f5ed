//! One side of a comparison, read into memory.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use moreline_protocol::event::Metrics;
use moreline_protocol::job::RowRange;

use super::super::EngineError;
use super::super::resolve::{Outputs, Resolved, present, resolve};
use super::super::runs::{PastRun, PastSnapshot, PastStage};
use super::super::selection::Chosen;
use super::super::session::{Seen, Session};
use super::super::sources::Source;
use super::{DataKind, RunLabel, SideLabel, StageOutcome, Version};
use crate::config::{Experiment, ModelSource, Site};
use crate::digest::Digest;
use crate::plan::{Graph, StageKey, StageVersion};
use crate::store::{ActionRecord, Store};

/// One side.
pub(super) struct Side {
    pub(super) label: SideLabel,
    pub(super) store: Arc<Store>,
    /// Its stages, each after what it depends on.
    pub(super) stages: Vec<SideStage>,
    /// Its data, prompts and models, by name.
    pub(super) sources: BTreeMap<String, SideSource>,
}

/// One stage of a side.
pub(super) struct SideStage {
    pub(super) name: String,
    pub(super) version: StageVersion,
    pub(super) key: Option<StageKey>,
    pub(super) outcome: StageOutcome,
    pub(super) metrics: Option<Metrics>,
    pub(super) outputs: Option<Arc<Outputs>>,
}

/// A file or model of a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SideSource {
    pub(super) kind: DataKind,
    /// Where it is, as the experiment says.
    pub(super) place: String,
    /// Its file; none for a model, whose rows nobody compares.
    pub(super) path: Option<PathBuf>,
    /// Digest of its bytes; absent if it is not there, or no stage takes it.
    pub(super) digest: Option<Digest>,
    pub(super) rows: RowRange,
}

impl Side {
    pub(super) fn read(version: &Version<'_>) -> Result<Self, EngineError> {
        match version {
            Version::File { experiment, site } => Self::of_file(experiment, site),
            Version::Run { store, run } => Self::of_run(Arc::clone(store), run),
        }
    }

    fn of_file(experiment: &Experiment, site: &Site) -> Result<Self, EngineError> {
        let session = Session::open(experiment, site)?;
        let all = Chosen::all(session.graph.order().len());
        let found = session.sources(&all.wanted);
        let stages = session.look_with(&all, &found)?;
        let name = |seen: &Seen| session.graph.stage(seen.index).name.clone();
        let stages = stages
            .into_iter()
            .map(|seen| SideStage::seen(name(&seen), seen));
        Ok(Self {
            label: SideLabel {
                experiment: experiment.path.clone(),
                smoke: experiment.smoke,
                run: None,
            },
            stages: stages.collect(),
            sources: sources(experiment, &found),
            store: Arc::new(session.store),
        })
    }

    fn of_run(store: Arc<Store>, run: &PastRun) -> Result<Self, EngineError> {
        let snapshot = PastSnapshot::read(&run.directory).map_err(|problem| {
            let run = run.id.clone();
            EngineError::BadRun { run, problem }
        })?;
        let experiment = &snapshot.experiment;
        let graph = Graph::new(experiment)?;
        let found = snapshot.sources();
        Ok(Self {
            label: SideLabel {
                experiment: run.experiment.clone(),
                smoke: run.smoke,
                run: Some(RunLabel {
                    id: run.id.clone(),
                    started: run.started.clone(),
                    state: run.state,
                }),
            },
            stages: past_stages(&graph, &found, run, &store)?,
            sources: sources(experiment, &found),
            store,
        })
    }
}

impl SideStage {
    fn seen(name: String, seen: Seen) -> Self {
        Self {
            name,
            outcome: StageOutcome {
                state: seen.state.name().into(),
                why: seen.state.reason(),
                key: seen.key,
            },
            version: seen.present,
            key: seen.key,
            metrics: seen.record.as_ref().map(|record| record.metrics.clone()),
            outputs: seen.record.map(|record| Arc::new(record.outputs)),
        }
    }
}

/// The stages as a run found them; their results from the store, as far as they
/// are still there.
fn past_stages(
    graph: &Graph<'_>,
    sources: &HashMap<String, Source>,
    run: &PastRun,
    store: &Store,
) -> Result<Vec<SideStage>, EngineError> {
    let mut outputs: Vec<Option<Arc<Outputs>>> = vec![None; graph.order().len()];
    let mut stages = Vec::with_capacity(outputs.len());
    for &index in graph.order() {
        let known = |from: usize| outputs[from].clone();
        let resolved = resolve(graph, index, sources, &known);
        let version = present(graph, index, sources, &known);
        let name = &graph.stage(index).name;
        let past = run.stage(name);
        let key = match (past.and_then(|stage| stage.key), resolved) {
            (Some(key), _) => Some(key),
            (None, Resolved::Ready(ready)) => Some(ready.key),
            (None, _) => None,
        };
        let record = match key {
            Some(key) => store.record(&key)?,
            None => None,
        };
        outputs[index] = record
            .as_ref()
            .map(|record| Arc::new(record.outputs.clone()));
        let outputs = outputs[index].clone();
        stages.push(past_stage(name, version, past, (key, record, outputs)));
    }
    Ok(stages)
}

fn past_stage(
    name: &str,
    mut version: StageVersion,
    past: Option<&PastStage>,
    (key, record, outputs): (Option<StageKey>, Option<ActionRecord>, Option<Arc<Outputs>>),
) -> SideStage {
    let mut metrics = past.and_then(|stage| stage.metrics.clone());
    if let Some(record) = record {
        version.version = record.version;
        metrics = metrics.or(Some(record.metrics));
    }
    let (state, why) = match past {
        Some(stage) => {
            let error = stage.error.as_ref();
            let why = error.and_then(|error| error.message.lines().next());
            (stage.state.name(), why.unwrap_or_default())
        }
        None => ("not-run", "the run was not about it"),
    };
    SideStage {
        name: name.to_owned(),
        outcome: StageOutcome {
            state: state.to_owned(),
            why: why.to_owned(),
            key,
        },
        version,
        key,
        metrics,
        outputs,
    }
}

fn sources(
    experiment: &Experiment,
    found: &HashMap<String, Source>,
) -> BTreeMap<String, SideSource> {
    let digest = |name: &str| match found.get(name) {
        Some(Source::Ready(source)) => Some(source.digest),
        _ => None,
    };
    let mut sources = BTreeMap::new();
    for (kind, tables) in [
        (DataKind::Data, &experiment.data),
        (DataKind::Prompts, &experiment.prompts),
        (DataKind::Responses, &experiment.responses),
    ] {
        sources.extend(tables.iter().map(|(name, table)| {
            let source = SideSource {
                kind,
                place: table.path.display().to_string(),
                path: Some(table.path.clone()),
                digest: digest(name),
                rows: table.rows,
            };
            (name.clone(), source)
        }));
    }
    sources.extend(experiment.models.iter().map(|(name, model)| {
        let place = match &model.source {
            ModelSource::Path(path) => path.display().to_string(),
            ModelSource::Hub { repo, revision } => format!("hf:{repo}@{revision}"),
        };
        let source = SideSource {
            kind: DataKind::Model,
            place,
            path: None,
            digest: digest(name),
            rows: RowRange::default(),
        };
        (name.clone(), source)
    }));
    sources
}
