//! An experiment, its graph and its store, opened together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::resolve::{Outputs, Resolved, past, present, resolve};
use super::selection::Chosen;
use super::sources::{self, Source};
use super::{EngineError, Remote, cache_dir};
use crate::config::{Experiment, Site};
use crate::plan::{Graph, StageKey, StageState, StageVersion, rerun_reason};
use crate::store::{ActionRecord, Lookup, ModelLock, Store, StoreError};

/// Why a stage runs whose result is there.
pub(super) const FORCED: &str = "it is forced to";

/// What every command starts from.
pub(super) struct Session<'a> {
    pub(super) graph: Graph<'a>,
    pub(super) store: Store,
    pub(super) pins: ModelLock,
    pub(super) latest: BTreeMap<String, StageKey>,
    /// Asked for what the store lacks.
    remote: Option<&'a Remote<'a>>,
}

/// A stage as the store shows it.
pub(super) struct Seen {
    pub(super) index: usize,
    pub(super) key: Option<StageKey>,
    pub(super) state: StageState,
    /// What is written now, inputs as far as they are known.
    pub(super) present: StageVersion,
    pub(super) record: Option<Box<ActionRecord>>,
    /// The cache layer that has the result, if only it has.
    pub(super) layer: Option<String>,
}

impl Seen {
    /// Why the stage is in its state, in one line.
    pub(super) fn why(&self) -> String {
        match &self.layer {
            Some(layer) => format!("to be fetched from {layer}"),
            None => self.state.reason(),
        }
    }
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
            remote: None,
        })
    }

    /// The same, which also looks into the site's cache layers.
    pub(super) fn with_remote(self, remote: Option<&'a Remote<'a>>) -> Self {
        Self { remote, ..self }
    }

    /// The index of the stage of exactly this name.
    pub(super) fn index(&self, name: &str) -> Result<usize, EngineError> {
        let mut stages = self.graph.experiment().stages.iter();
        stages
            .position(|stage| stage.name == name)
            .ok_or_else(|| self.no_such_stage(name))
    }

    pub(super) fn no_such_stage(&self, name: &str) -> EngineError {
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

    /// Every stage with its state, each after what it depends on.
    pub(super) fn look(&self) -> Result<Vec<Seen>, EngineError> {
        self.look_at(&Chosen::all(self.graph.order().len()))
    }

    /// The chosen stages with their states, each after what it depends on.
    pub(super) fn look_at(&self, chosen: &Chosen) -> Result<Vec<Seen>, EngineError> {
        self.look_with(chosen, &self.sources(&chosen.wanted))
    }

    /// The same with sources that were looked up before.
    pub(super) fn look_with(
        &self,
        chosen: &Chosen,
        sources: &HashMap<String, Source>,
    ) -> Result<Vec<Seen>, EngineError> {
        let mut outputs: Vec<Option<Arc<Outputs>>> = vec![None; chosen.wanted.len()];
        let mut stages = Vec::with_capacity(outputs.len());
        let wanted = self
            .graph
            .order()
            .iter()
            .filter(|index| chosen.wanted[**index]);
        for &index in wanted {
            let known = |i: usize| outputs[i].clone();
            let resolved = resolve(&self.graph, index, sources, &known);
            let present = present(&self.graph, index, sources, &known);
            let mut seen = self.see(index, resolved, present)?;
            if chosen.forced[index] && seen.key.is_some() {
                let reason = FORCED.into();
                (seen.state, seen.record) = (StageState::Run { reason }, None);
                seen.layer = None;
            }
            outputs[index] = seen.record.as_ref().map(|r| Arc::new(r.outputs.clone()));
            stages.push(seen);
        }
        Ok(stages)
    }

    fn see(
        &self,
        index: usize,
        resolved: Resolved,
        present: StageVersion,
    ) -> Result<Seen, EngineError> {
        let mut layer = None;
        let (key, state, record) = match resolved {
            Resolved::Missing(inputs) => (None, StageState::MissingInput { inputs }, None),
            Resolved::Waiting(after) => (None, StageState::Maybe { after }, None),
            Resolved::Ready(ready) => match self.store.lookup(&ready.key)? {
                Lookup::Committed(record) => (Some(ready.key), StageState::Cached, Some(record)),
                lookup => match self.elsewhere(index, &ready.key) {
                    Some((record, name)) => {
                        layer = Some(name);
                        (Some(ready.key), StageState::Cached, Some(Box::new(record)))
                    }
                    None => {
                        let reason = self.reason(index, &present, &lookup)?;
                        (Some(ready.key), StageState::Run { reason }, None)
                    }
                },
            },
        };
        Ok(Seen {
            index,
            key,
            state,
            present,
            record,
            layer,
        })
    }

    /// What a cache layer has for a key, if layers are asked at all.
    fn elsewhere(&self, index: usize, key: &StageKey) -> Option<(ActionRecord, String)> {
        self.remote?.find(key, self.graph.stage(index))
    }

    /// Why a stage has to run.
    pub(super) fn reason(
        &self,
        index: usize,
        present: &StageVersion,
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
        let past_record = match self.latest.get(&stage.name) {
            Some(key) => self.store.record(key)?,
            None => None,
        };
        let past = past_record.as_ref().map(past);
        Ok(rerun_reason(present, past.as_ref()))
    }
}
