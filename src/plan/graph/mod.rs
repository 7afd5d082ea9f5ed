//! The graph of stages: an edge for every reference from one to another.

mod names;
mod order;

use std::collections::BTreeSet;

use moreline_protocol::artifact::{ArtifactType, OutputName};
use moreline_protocol::job::RowRange;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use super::label::InputLabel;
use crate::config::{Experiment, ModelSource, RowsDecl, StageDecl};
use names::Names;
use order::{chains, order};

/// What an input is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency<'a> {
    /// A model's files.
    Model(&'a ModelSource),
    /// A file of rows.
    Rows(&'a RowsDecl),
    /// An output of another stage, by the stage's index and the output's name.
    Stage {
        /// Index into [`Experiment::stages`].
        index: usize,
        /// The output.
        output: OutputName,
    },
}

/// One input of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInput<'a> {
    /// The stage's field.
    pub role: &'static str,
    /// The name in the experiment file, without what names a step.
    pub name: &'a str,
    /// The name it has in the result.
    pub label: InputLabel,
    /// What it holds.
    pub artifact: ArtifactType,
    /// The rows taken.
    pub rows: RowRange,
    /// Where it comes from.
    pub from: Dependency<'a>,
}

/// A graph that cannot be built. The configuration layer checks the same and
/// shows where in the file; these messages guard against its gaps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A reference to nothing.
    #[error("stage `{stage}` refers to `{name}`, which the experiment does not define")]
    Unknown {
        /// The stage.
        stage: String,
        /// The name.
        name: String,
    },
    /// A reference to a stage that gives nothing of the right type.
    #[error("stage `{stage}` cannot take `{name}` as its `{role}`: it gives no {wanted}")]
    WrongType {
        /// The stage.
        stage: String,
        /// The name.
        name: String,
        /// The field.
        role: &'static str,
        /// What the field takes.
        wanted: String,
    },
    /// A reference to an intermediate model that is never given.
    #[error(
        "stage `{stage}` takes `{name}`, which is never given: a training with `save_every` \
         gives the models after its multiples"
    )]
    NoSuchStep {
        /// The stage.
        stage: String,
        /// The reference.
        name: String,
    },
    /// Stages that depend on each other.
    #[error("stages depend on each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

/// Stages, their inputs, and an order in which they can run.
#[derive(Debug)]
pub struct Graph<'a> {
    experiment: &'a Experiment,
    inputs: Vec<Vec<StageInput<'a>>>,
    graph: DiGraph<usize, ()>,
    order: Vec<usize>,
}

impl<'a> Graph<'a> {
    /// The graph of an experiment's stages.
    pub fn new(experiment: &'a Experiment) -> Result<Self, GraphError> {
        let names = Names::of(experiment);
        let mut graph = DiGraph::with_capacity(experiment.stages.len(), 0);
        for index in 0..experiment.stages.len() {
            graph.add_node(index);
        }
        let mut inputs = Vec::with_capacity(experiment.stages.len());
        for (index, stage) in experiment.stages.iter().enumerate() {
            let own = names.inputs(stage)?;
            for input in &own {
                if let Dependency::Stage { index: from, .. } = input.from {
                    graph.update_edge(NodeIndex::new(from), NodeIndex::new(index), ());
                }
            }
            inputs.push(own);
        }
        let order = order(&graph, experiment)?;
        Ok(Self {
            experiment,
            inputs,
            graph,
            order,
        })
    }

    /// The experiment it was made from.
    pub fn experiment(&self) -> &'a Experiment {
        self.experiment
    }

    /// The stage of an index.
    pub fn stage(&self, index: usize) -> &'a StageDecl {
        &self.experiment.stages[index]
    }

    /// The inputs of a stage, in role order and order of reference.
    pub fn inputs(&self, index: usize) -> &[StageInput<'a>] {
        &self.inputs[index]
    }

    /// Indices of all stages, each after everything it depends on; otherwise
    /// in file order.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Indices of all stages in the order in which they are best computed: each
    /// after everything it depends on, and what a finished stage makes possible
    /// before other chains, so that whole results are there early.
    pub fn chains(&self) -> Vec<usize> {
        chains(&self.graph, &self.order)
    }

    /// The stages a stage takes something from, each once.
    pub fn upstream(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.neighbours(index, Direction::Incoming)
    }

    /// The stages that take something from a stage, each once.
    pub fn downstream(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.neighbours(index, Direction::Outgoing)
    }

    /// The steps whose models other stages take from a stage, each once.
    pub fn wanted_steps(&self, index: usize) -> Vec<u64> {
        let inputs = self.downstream(index).flat_map(|to| self.inputs(to));
        let step = |input: &StageInput<'_>| match input.from {
            Dependency::Stage {
                index: from,
                output: OutputName::Step(step),
            } if from == index => Some(step),
            _ => None,
        };
        let steps: BTreeSet<u64> = inputs.filter_map(step).collect();
        steps.into_iter().collect()
    }

    /// These stages and everything they depend on, as a mask over all stages.
    pub fn with_ancestors(&self, wanted: &[usize]) -> Vec<bool> {
        self.reach(wanted, Direction::Incoming)
    }

    /// These stages and everything that depends on them, as a mask over all
    /// stages.
    pub fn with_descendants(&self, wanted: &[usize]) -> Vec<bool> {
        self.reach(wanted, Direction::Outgoing)
    }

    fn reach(&self, from: &[usize], way: Direction) -> Vec<bool> {
        let mut mask = vec![false; self.inputs.len()];
        let mut stack = from.to_vec();
        while let Some(index) = stack.pop() {
            if !std::mem::replace(&mut mask[index], true) {
                stack.extend(self.neighbours(index, way));
            }
        }
        mask
    }

    fn neighbours(&self, index: usize, way: Direction) -> impl Iterator<Item = usize> + '_ {
        self.graph
            .neighbors_directed(NodeIndex::new(index), way)
            .map(|node| self.graph[node])
    }
}
