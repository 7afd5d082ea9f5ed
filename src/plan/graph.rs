//! The graph of stages: an edge for every reference from one to another.

use moreline_protocol::artifact::{
    ArtifactType, OutputDecl, OutputName, RoleDecl, outputs, roles, split_step,
};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::{EVALUATE_ON, StageSpec};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::{Direction, algo};
use serde_json::Value;

use super::label::InputLabel;
use crate::config::{Experiment, ModelSource, Referent, RowsDecl, StageDecl};

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
        let steps: std::collections::BTreeSet<u64> = inputs.filter_map(step).collect();
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

/// The experiment's names, looked up once instead of by search.
struct Names<'a> {
    experiment: &'a Experiment,
    stages: std::collections::HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn of(experiment: &'a Experiment) -> Self {
        let stages = experiment.stages.iter().enumerate();
        Self {
            experiment,
            stages: stages.map(|(i, stage)| (stage.name.as_str(), i)).collect(),
        }
    }

    /// Same answer as [`Experiment::referent`], without the linear search.
    fn referent(&self, name: &str) -> Option<(&'a str, Referent<'a>)> {
        let Experiment {
            models,
            data,
            prompts,
            responses,
            ..
        } = self.experiment;
        if let Some((name, model)) = models.get_key_value(name) {
            return Some((name, Referent::Model(model)));
        }
        if let Some((name, rows)) = data.get_key_value(name) {
            return Some((name, Referent::Data(rows)));
        }
        if let Some((name, rows)) = prompts.get_key_value(name) {
            return Some((name, Referent::Prompts(rows)));
        }
        if let Some((name, rows)) = responses.get_key_value(name) {
            return Some((name, Referent::Responses(rows)));
        }
        let (name, index) = self.stages.get_key_value(name)?;
        Some((name, Referent::Stage(*index)))
    }

    fn inputs(&self, stage: &StageDecl) -> Result<Vec<StageInput<'a>>, GraphError> {
        let fields = serde_json::to_value(&stage.spec).unwrap_or_default();
        let mut inputs = Vec::new();
        for role in roles(stage.spec.kind()) {
            let names = references(&fields[role.field]);
            for name in &names {
                inputs.push(self.input(stage, role, name, names.len() == 1)?);
            }
        }
        Ok(inputs)
    }

    fn input(
        &self,
        stage: &StageDecl,
        role: &RoleDecl,
        name: &str,
        alone: bool,
    ) -> Result<StageInput<'a>, GraphError> {
        let reference = name;
        let unknown = || GraphError::Unknown {
            stage: stage.name.clone(),
            name: reference.to_owned(),
        };
        let (name, step) = split_step(reference).ok_or_else(unknown)?;
        let (name, referent) = self.referent(name).ok_or_else(unknown)?;
        let no_such_step = || GraphError::NoSuchStep {
            stage: stage.name.clone(),
            name: reference.to_owned(),
        };
        if step.is_some() && !matches!(referent, Referent::Stage(_)) {
            return Err(no_such_step());
        }
        let (artifact, rows, from) = match referent {
            Referent::Model(model) => (
                role.accepts[0],
                RowRange::default(),
                Dependency::Model(&model.source),
            ),
            Referent::Data(rows) => (ArtifactType::Preferences, rows.rows, Dependency::Rows(rows)),
            Referent::Prompts(rows) => (ArtifactType::Prompts, rows.rows, Dependency::Rows(rows)),
            Referent::Responses(rows) => (
                ArtifactType::ScoredResponses,
                rows.rows,
                Dependency::Rows(rows),
            ),
            Referent::Stage(index) => {
                let output = self.output(stage, role, index)?;
                let name = match step {
                    None => OutputName::Declared(output.name),
                    Some(step) if gives_step(&self.experiment.stages[index].spec, step) => {
                        OutputName::Step(step)
                    }
                    Some(_) => return Err(no_such_step()),
                };
                let from = Dependency::Stage {
                    index,
                    output: name,
                };
                (output.artifact, RowRange::default(), from)
            }
        };
        let rows = match artifact {
            ArtifactType::LanguageModel | ArtifactType::RewardModel => rows,
            _ => rows.capped(stage.spec.limit(role.field)),
        };
        Ok(StageInput {
            role: role.field,
            name,
            label: label(role, (name, reference), &from, alone),
            artifact,
            rows,
            from,
        })
    }

    fn output(
        &self,
        stage: &StageDecl,
        role: &RoleDecl,
        index: usize,
    ) -> Result<&'static OutputDecl, GraphError> {
        let from = &self.experiment.stages[index];
        main_output(&from.spec, role.accepts).ok_or_else(|| GraphError::WrongType {
            stage: stage.name.clone(),
            name: from.name.clone(),
            role: role.field,
            wanted: role
                .accepts
                .iter()
                .map(|artifact| artifact.describe())
                .collect::<Vec<_>>()
                .join(" or "),
        })
    }
}

/// Whether the settings of a stage allow for a model after a step.
fn gives_step(spec: &StageSpec, step: u64) -> bool {
    let due = |(every, steps): (u64, Option<u64>)| {
        step.is_multiple_of(every) && steps.is_none_or(|steps| step <= steps)
    };
    step > 0 && spec.saves().is_some_and(due)
}

/// The first output of one of these types.
fn main_output(spec: &StageSpec, accepts: &[ArtifactType]) -> Option<&'static OutputDecl> {
    outputs(spec)
        .iter()
        .find(|output| accepts.contains(&output.artifact))
}

/// The names in a reference field: none, one or several.
fn references(field: &Value) -> Vec<&str> {
    match field {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Sets of rows, and several models of one stage, are told apart by name in metrics and
/// records; a single model and responses are not.
fn label(
    role: &RoleDecl,
    (name, reference): (&str, &str),
    from: &Dependency<'_>,
    alone: bool,
) -> InputLabel {
    if role.field == "model" && !alone {
        return InputLabel::Named(reference.to_owned());
    }
    let labels_rows = matches!(role.field, "data" | "prompts" | EVALUATE_ON);
    match from {
        Dependency::Stage { output, .. } if alone || !labels_rows => {
            let name = output.declared();
            let stem = name.split('.').next().unwrap_or(name);
            InputLabel::Fixed(stem.to_owned())
        }
        Dependency::Model(_) => InputLabel::Fixed(role.field.to_owned()),
        Dependency::Rows(_) if !labels_rows => InputLabel::Fixed("responses".to_owned()),
        _ => InputLabel::Named(name.to_owned()),
    }
}

/// Kahn's algorithm, taking the stage that comes first in the file among
/// those that are ready.
fn order(graph: &DiGraph<usize, ()>, experiment: &Experiment) -> Result<Vec<usize>, GraphError> {
    use std::cmp::Reverse;
    let count = |node| graph.neighbors_directed(node, Direction::Incoming).count();
    let mut waiting: Vec<usize> = graph.node_indices().map(count).collect();
    let ready = (0..waiting.len()).filter(|&index| waiting[index] == 0);
    let mut ready: std::collections::BinaryHeap<_> = ready.map(Reverse).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for next in graph.neighbors(NodeIndex::new(index)) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                ready.push(Reverse(next.index()));
            }
        }
    }
    if order.len() == waiting.len() {
        return Ok(order);
    }
    Err(GraphError::Cycle(cycle(graph, experiment)))
}

/// Names along one circle, the first repeated at the end.
fn cycle(graph: &DiGraph<usize, ()>, experiment: &Experiment) -> Vec<String> {
    let circles = algo::tarjan_scc(graph);
    let member = |scc: &Vec<NodeIndex>| {
        scc.len() > 1 || scc.first().is_some_and(|&n| graph.contains_edge(n, n))
    };
    let Some(circle) = circles.into_iter().find(member) else {
        return Vec::new();
    };
    let mut path = vec![circle[0]];
    loop {
        let last = path[path.len() - 1];
        let Some(next) = graph.neighbors(last).find(|node| circle.contains(node)) else {
            break;
        };
        if let Some(start) = path.iter().position(|&node| node == next) {
            path.drain(..start);
            path.push(next);
            break;
        }
        path.push(next);
    }
    path.into_iter()
        .map(|node| experiment.stages[node.index()].name.clone())
        .collect()
}
