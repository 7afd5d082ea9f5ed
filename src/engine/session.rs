//! An experiment, its graph and its store, opened together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::resolve::{Outputs, ReadyStage, Resolved, resolve};
use super::sources::{self, Source};
use super::{EngineError, cache_dir};
use crate::config::{Experiment, Site};
use crate::plan::{Graph, Past, PastInput, StageKey, StageState, rerun_reason};
use crate::store::{ActionRecord, Lookup, ModelLock, Store, StoreError};

/// What every command starts from.
pub(super) struct Session<'a> {
    pub(super) graph: Graph<'a>,
    pub(super) store: Store,
    pub(super) pins: ModelLock,
    latest: BTreeMap<String, StageKey>,
}

/// A stage as the store shows it.
pub(super) struct Seen {
    pub(super) index: usize,
    pub(super) key: Option<StageKey>,
    pub(super) state: StageState,
    pub(super) record: Option<Box<ActionRecord>>,
}

impl<'a> Session<'a> {
    /// Opens the store of an experiment. Writes nothing.
    pub(super) fn open(experiment: &'a Experiment, site: &Site) -> Result<Self, EngineError> {
        let graph = Graph::new(experiment)?;
        let store = Store::open(cache_dir(experiment, site));
        let latest = store.latest_keys(&experiment.path);
        Ok(Self {
            graph,
            store,
            pins: ModelLock::of(&experiment.path)?,
            latest,
        })
    }

    /// The stages of these names, base names taking every cell, and all they
    /// depend on; every stage if there are no names.
    pub(super) fn select(&self, names: &[String]) -> Result<Vec<bool>, EngineError> {
        let stages = &self.graph.experiment().stages;
        if names.is_empty() {
            return Ok(vec![true; stages.len()]);
        }
        let mut wanted = Vec::new();
        for name in names {
            let before = wanted.len();
            let named =
                |index: &usize| stages[*index].name == *name || stages[*index].base == *name;
            wanted.extend((0..stages.len()).filter(named));
            if wanted.len() == before {
                return Err(self.no_such_stage(name));
            }
        }
        Ok(self.graph.with_ancestors(&wanted))
    }

    /// The index of the stage of exactly this name.
    pub(super) fn index(&self, name: &str) -> Result<usize, EngineError> {
        let mut stages = self.graph.experiment().stages.iter();
        stages
            .position(|stage| stage.name == name)
            .ok_or_else(|| self.no_such_stage(name))
    }

    fn no_such_stage(&self, name: &str) -> EngineError {
        let stages = self.graph.experiment().stages.iter();
        let near = stages
            .map(|stage| (strsim::jaro_winkler(name, &stage.name), &stage.name))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness > 0.6);
        EngineError::NoSuchStage {
            name: name.to_owned(),
            near: near.map(|(_, name)| name.clone()),
        }
    }

    /// The sources of the wanted stages.
    pub(super) fn sources(&self, wanted: &[bool]) -> HashMap<String, Source> {
        sources::find(&self.graph, wanted, &self.store, &self.pins)
    }

    /// Every stage with its state, in running order.
    pub(super) fn look(&self) -> Result<Vec<Seen>, EngineError> {
        let wanted = vec![true; self.graph.order().len()];
        let sources = self.sources(&wanted);
        let mut outputs: Vec<Option<Arc<Outputs>>> = vec![None; wanted.len()];
        let mut stages = Vec::with_capacity(wanted.len());
        for &index in self.graph.order() {
            let resolved = resolve(&self.graph, index, &sources, &|i| outputs[i].clone());
            let seen = self.see(index, resolved)?;
            outputs[index] = seen.record.as_ref().map(|r| Arc::new(r.outputs.clone()));
            stages.push(seen);
        }
        Ok(stages)
    }

    fn see(&self, index: usize, resolved: Resolved) -> Result<Seen, EngineError> {
        let (key, state, record) = match resolved {
            Resolved::Missing(inputs) => (None, StageState::MissingInput { inputs }, None),
            Resolved::Waiting(after) => (None, StageState::Maybe { after }, None),
            Resolved::Ready(ready) => match self.store.lookup(&ready.key)? {
                Lookup::Committed(record) => (Some(ready.key), StageState::Cached, Some(record)),
                lookup => {
                    let reason = self.reason(index, &ready, &lookup)?;
                    (Some(ready.key), StageState::Run { reason }, None)
                }
            },
        };
        Ok(Seen {
            index,
            key,
            state,
            record,
        })
    }

    /// Why a stage has to run.
    pub(super) fn reason(
        &self,
        index: usize,
        ready: &ReadyStage,
        lookup: &Lookup,
    ) -> Result<String, StoreError> {
        if let Lookup::Lost {
            output, missing, ..
        } = lookup
        {
            let fate = if *missing { "gone from" } else { "damaged in" };
            return Ok(format!("its output `{output}` is {fate} the cache"));
        }
        let stage = self.graph.stage(index);
        let past = match self.latest.get(&stage.name) {
            Some(key) => self.store.record(key)?.map(past),
            None => None,
        };
        let inputs: Vec<_> = ready.inputs.iter().map(|i| i.for_comparison()).collect();
        Ok(rerun_reason(&stage.spec, &inputs, past.as_ref()))
    }
}

fn past(record: ActionRecord) -> Past {
    let input = |input: crate::store::RecordedInput| PastInput {
        role: input.role,
        name: input.name,
        digest: input.digest,
        rows: input.rows,
    };
    Past {
        kind: record.kind,
        version: record.version,
        spec: record.spec,
        inputs: record.inputs.into_iter().map(input).collect(),
    }
}
