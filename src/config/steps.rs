//! References to the models that a training gives on its way: `rm@step-1000`.

use moreline_protocol::artifact::{STEP, split_step};
use moreline_protocol::spec::StageSpec;

use super::error::Problem;
use super::names;
use super::node::Node;

/// What is wrong with a reference to a step of the stage `name`, if anything.
pub(super) fn check(
    node: &Node,
    reference: &str,
    name: &str,
    spec: &StageSpec,
) -> Result<(), Problem> {
    let Some((_, Some(step))) = split_step(reference) else {
        return Err(Problem::at(
            &node.at,
            format!("`{reference}` names no step"),
            "which step?",
        )
        .hint(format!(
            "write `{name}{STEP}1000` for the model after 1000 steps"
        )));
    };
    let Some((every, steps)) = spec.saves() else {
        return Err(none_given(node, name, step, spec));
    };
    let end = steps.unwrap_or(u64::MAX);
    if step.is_multiple_of(every) && step <= end {
        return Ok(());
    }
    let problem = if step > end {
        let message = format!("`{name}` ends after {end} steps");
        Problem::at(&node.at, message, "it never gets there")
    } else {
        let message = format!("`{name}` gives the models after multiples of {every} steps");
        Problem::at(&node.at, message, format!("{step} is none"))
    };
    let before = step.min(end) / every * every;
    let after = before.checked_add(every).filter(|after| *after <= end);
    let near: Vec<String> = [Some(before).filter(|before| *before > 0), after]
        .into_iter()
        .flatten()
        .map(|near| format!("`{name}{STEP}{near}`"))
        .collect();
    Err(match near.as_slice() {
        [] => problem.hint("lower `save_every`"),
        [one, other] => problem.hint(format!("there are {one} and {other}")),
        [one, ..] => problem.hint(format!("there is {one}")),
    })
}

/// A step of something that is no stage.
pub(super) fn not_a_training(node: &Node, name: &str, what: &str) -> Problem {
    Problem::at(
        &node.at,
        format!("`{name}` is {what}, and has no steps"),
        "not a training",
    )
    .hint("only train-reward and sft stages with `save_every` give models on the way")
}

fn none_given(node: &Node, name: &str, step: u64, spec: &StageSpec) -> Problem {
    if !matches!(spec, StageSpec::TrainReward(_) | StageSpec::Sft(_)) {
        return not_a_training(node, name, &names::a_stage(spec.kind()));
    }
    let base = name.split(':').next().unwrap_or(name);
    Problem::at(
        &node.at,
        format!("`{name}` gives only the model of its end"),
        "not given",
    )
    .hint(format!("add save_every = {step} to [stage.{base}]"))
}
