//! From the names in a stage's fields to what they stand for.

use moreline_protocol::artifact::{
    ArtifactType, OutputDecl, OutputName, RoleDecl, outputs, roles, split_step,
};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::{EVALUATE_ON, StageSpec};
use serde_json::Value;

use super::{Dependency, GraphError, StageInput};
use crate::config::{Experiment, Referent, StageDecl};
use crate::plan::label::InputLabel;

/// The experiment's names, looked up once instead of by search.
pub(super) struct Names<'a> {
    experiment: &'a Experiment,
    stages: std::collections::HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub(super) fn of(experiment: &'a Experiment) -> Self {
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

    /// The inputs of a stage, in role order and order of reference.
    pub(super) fn inputs(&self, stage: &StageDecl) -> Result<Vec<StageInput<'a>>, GraphError> {
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
