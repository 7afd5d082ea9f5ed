//! Which methods, mixtures and sets of a reward training go together.

use moreline_protocol::spec::{Method, Mixing, TrainReward};

use super::error::Problem;
use super::matrix::Cell;
use super::node::Table;
use super::rules::at;
use super::suggest;

/// Everything wrong with how a training treats its sets.
pub(super) fn check(cell: &Cell, train: &TrainReward) -> Vec<Problem> {
    let checks = [number_of_sets, room, groups, temperature];
    let mut problems: Vec<Problem> = checks
        .into_iter()
        .filter_map(|check| check(cell, train))
        .collect();
    problems.extend(weights(cell, train));
    problems
}

/// Too few sets to weigh, or too many for `single`.
fn number_of_sets(cell: &Cell, train: &TrainReward) -> Option<Problem> {
    let sets = train.data.names().len();
    let name = name(train.method);
    let problem = |label: &str, hint: String| {
        let plural = if sets == 1 { "" } else { "s" };
        let message = format!(
            "`{}` trains with method `{name}` on {sets} set{plural}",
            cell.base
        );
        Problem::at(at(cell, "data"), message, label).hint(hint)
    };
    if train.method.weighs() && sets < 2 {
        return Some(problem(
            "one set",
            format!(
                "{name} weighs several sets against each other: name at least two, or use method = \"uniform\""
            ),
        ));
    }
    (train.method == Method::Single && sets > 1).then(|| {
        problem(
            "several sets",
            "name one set (a matrix variable gives a training for each), or use method = \"uniform\""
                .to_owned(),
        )
    })
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Uniform => "uniform",
        Method::Single => "single",
        Method::More => "more",
        Method::Pcgrad => "pcgrad",
        Method::Dwa => "dwa",
    }
}

/// A batch that cannot hold a row of each set.
fn room(cell: &Cell, train: &TrainReward) -> Option<Problem> {
    let sets = train.data.names().len();
    if train.mixing() != Mixing::Equal || train.batch as usize >= sets {
        return None;
    }
    Some(
        Problem::at(
            at(cell, "batch"),
            format!("a batch of {} cannot hold rows of {sets} sets", train.batch),
            "too small",
        )
        .hint(format!("set batch to at least {sets}")),
    )
}

/// Weight groups so small that there is nothing to weigh.
fn groups(cell: &Cell, train: &TrainReward) -> Option<Problem> {
    if !train.method.needs_head_grads() || train.weight_groups < 2 {
        return None;
    }
    let least = match train.mixing() {
        Mixing::Equal => train.data.names().len() as u32,
        _ => 2,
    };
    let rows = train.batch.div_ceil(train.weight_groups);
    if rows >= least || train.batch < least {
        return None;
    }
    let key = if cell.table.get("weight_groups").is_some() {
        "weight_groups"
    } else {
        "compat"
    };
    Some(
        Problem::at(
            at(cell, key),
            format!(
                "{} weight groups of a batch of {} have {rows} row{} each, too few to weigh sets",
                train.weight_groups,
                train.batch,
                if rows == 1 { "" } else { "s" }
            ),
            "too many groups",
        )
        .hint(format!(
            "set batch to at least {}, or weight_groups to at most {}",
            train.weight_groups.saturating_mul(least),
            (train.batch / least).max(1)
        )),
    )
}

fn temperature(cell: &Cell, train: &TrainReward) -> Option<Problem> {
    if train.mixing() != Mixing::Temperature || train.mixing_temperature.is_some() {
        return None;
    }
    Some(
        Problem::at(
            at(cell, "mixing"),
            format!("`{}` needs `mixing_temperature`", cell.base),
            "at which temperature?",
        )
        .hint("add mixing_temperature = 2.0; 1 is proportional, high ones come near equal"),
    )
}

/// Weights that do not fit the sets.
fn weights(cell: &Cell, train: &TrainReward) -> Vec<Problem> {
    if train.mixing() != Mixing::Weights {
        return Vec::new();
    }
    let sets = train.data.names();
    let example = "add mixing_weights = { SET = 2, OTHER = 1 }, a number for each set of `data`";
    let Some(weights) = &train.mixing_weights else {
        let message = format!("`{}` needs `mixing_weights`", cell.base);
        let problem = Problem::at(at(cell, "mixing"), message, "in which shares?");
        return vec![problem.hint(example)];
    };
    let table = cell
        .table
        .get("mixing_weights")
        .and_then(|node| node.as_table());
    let place = |name: &str| {
        let entry = table.and_then(|table: &Table| table.entry(name));
        entry.map_or(at(cell, "mixing_weights"), |entry| &entry.key_at)
    };
    let mut problems = Vec::new();
    for (name, weight) in weights {
        if !sets.contains(name) {
            let message = format!("`mixing_weights` names `{name}`, which `data` does not");
            let hint = suggest::hint(name, sets.iter().map(String::as_str), "sets");
            problems.push(Problem::at(place(name), message, "no set of `data`").hint(hint));
        } else if *weight < 0.0 {
            let message = format!("the weight of `{name}` is {weight}");
            let problem = Problem::at(place(name), message, "below zero");
            problems.push(problem.hint("weights are shares: 0 leaves a set out"));
        }
    }
    let missing: Vec<&str> = sets
        .iter()
        .map(String::as_str)
        .filter(|set| !weights.contains_key(*set))
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "`mixing_weights` has no weight for {}",
            suggest::list(&missing)
        );
        let problem = Problem::at(at(cell, "mixing_weights"), message, "incomplete");
        problems.push(problem.hint("give every set of `data` a weight; 0 leaves it out"));
    } else if problems.is_empty() && weights.values().all(|weight| *weight == 0.0) {
        let message = "the weights of `mixing_weights` are all 0";
        let problem = Problem::at(at(cell, "mixing_weights"), message, "nothing is drawn");
        problems.push(problem.hint("give at least one set a weight above 0"));
    }
    problems
}
