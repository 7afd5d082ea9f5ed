//! What a schema cannot say about a stage's settings.

use moreline_protocol::spec::{
    EVALUATE_ON, EvaluateReward, Import, Judge, Lora, OneOrMany, RawFormat, Schedule, Select, Sft,
    StageSpec, Strategy, TrainReward,
};

use super::error::Problem;
use super::matrix::Cell;
use super::node::{Entry, Node};
use super::reward_rules;
use super::source::At;
use super::suggest;

/// Everything wrong with a stage whose settings have the right types.
pub(super) fn check(cell: &Cell, spec: &StageSpec) -> Vec<Problem> {
    let mut problems = match spec {
        StageSpec::TrainReward(train) => train_reward(cell, train),
        StageSpec::EvaluateReward(evaluate) => evaluate_reward(cell, evaluate),
        StageSpec::Score(score) => several_models(cell, &score.model).into_iter().collect(),
        StageSpec::Judge(judge) => judge_mode(cell, judge),
        StageSpec::Select(select) => select_strategy(cell, select),
        StageSpec::Import(import) => import_form(cell, import),
        _ => Vec::new(),
    };
    if let StageSpec::Sft(sft) = spec {
        problems.extend(repeated(cell, "data", &sft.data));
        problems.extend(evaluation(cell, sft.evaluate_on.as_ref()));
        problems.extend(training(cell, &Training::from(sft)));
    }
    if let StageSpec::Perplexity(perplexity) = spec {
        problems.extend(repeated(cell, "data", &perplexity.data));
    }
    problems
}

pub(super) fn at<'a>(cell: &'a Cell, key: &str) -> &'a At {
    cell.table.get(key).map_or(&cell.at, |node| &node.at)
}

fn train_reward(cell: &Cell, train: &TrainReward) -> Vec<Problem> {
    let mut problems: Vec<Problem> = repeated(cell, "data", &train.data).into_iter().collect();
    problems.extend(evaluation(cell, train.evaluate_on.as_ref()));
    problems.extend(reward_rules::check(cell, train));
    problems.extend(training(cell, &Training::from(train)));
    problems
}

/// What both kinds of training say.
struct Training<'a> {
    betas: [f64; 2],
    schedule: Schedule,
    warmup: (Option<u64>, f64),
    decay_ratio: f64,
    steps: Option<u64>,
    train_blocks: Option<u32>,
    lora: Option<&'a Lora>,
}

macro_rules! training_of {
    ($($spec:ty),*) => {$(
        impl<'a> From<&'a $spec> for Training<'a> {
            fn from(spec: &'a $spec) -> Self {
                Self {
                    betas: spec.betas,
                    schedule: spec.schedule,
                    warmup: (spec.warmup_steps, spec.warmup_ratio),
                    decay_ratio: spec.decay_ratio,
                    steps: spec.steps,
                    train_blocks: spec.train_blocks,
                    lora: spec.lora.as_ref(),
                }
            }
        }
    )*};
}

training_of!(TrainReward, Sft);

fn training(cell: &Cell, spec: &Training<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.betas.iter().any(|beta| *beta >= 1.0) {
        let problem = Problem::at(at(cell, "betas"), "`betas` must be less than 1", "here");
        problems.push(problem);
    }
    problems.extend(schedule(cell, spec));
    if let Some(lora) = spec.lora {
        problems.extend(adapters(cell, spec, lora));
    }
    problems
}

fn schedule(cell: &Cell, spec: &Training<'_>) -> Option<Problem> {
    if spec.schedule != Schedule::Wsd {
        return None;
    }
    let (steps, ratio) = spec.warmup;
    let warmup = match (steps, spec.steps) {
        (Some(warmup), Some(total)) => warmup as f64 / total.max(1) as f64,
        (Some(_), None) => 0.0,
        (None, _) => ratio,
    };
    if warmup + spec.decay_ratio <= 1.0 {
        return None;
    }
    Some(
        Problem::at(
            at(cell, "decay_ratio"),
            format!("warm-up and decay of `{}` overlap", cell.base),
            "too long",
        )
        .hint("warm-up and decay together take at most all steps"),
    )
}

fn adapters(cell: &Cell, spec: &Training<'_>, lora: &Lora) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.train_blocks == Some(0) {
        let problem = Problem::at(
            at(cell, "train_blocks"),
            format!("`{}` has adapters, but in no block", cell.base),
            "no block",
        );
        problems.push(problem.hint(
            "set train_blocks to the number of top blocks that get adapters, or leave it out",
        ));
    }
    let targets = lora.targets.as_deref().unwrap_or_default();
    let twice = (1..targets.len()).any(|i| targets[..i].contains(&targets[i]));
    if twice {
        let problem = Problem::at(at(cell, "lora"), "`targets` names a matrix twice", "here");
        problems.push(problem.hint("name each matrix once"));
    }
    problems
}

fn evaluate_reward(cell: &Cell, evaluate: &EvaluateReward) -> Vec<Problem> {
    let mut problems: Vec<Problem> = repeated(cell, "data", &evaluate.data).into_iter().collect();
    problems.extend(several_models(cell, &evaluate.model));
    let bins = evaluate.bins.counts();
    if (1..bins.len()).any(|i| bins[..i].contains(&bins[i])) {
        let problem = Problem::at(at(cell, "bins"), "`bins` has a number twice", "here");
        problems.push(problem.hint("give each number of bins once"));
    }
    problems
}

/// Models named twice, and `combine` where there is nothing to combine.
fn several_models(cell: &Cell, models: &OneOrMany) -> Option<Problem> {
    if let ([_], Some(entry)) = (models.names(), cell.table.entry("combine")) {
        let problem = Problem::at(
            &entry.key_at,
            "`combine` has no effect on one model",
            "not used",
        );
        return Some(problem.hint("name several: model = [\"rm-a\", \"rm-b\"]"));
    }
    repeated(cell, "model", models)
}

/// Settings of evaluation while training that have no effect.
fn evaluation(cell: &Cell, sets: Option<&OneOrMany>) -> Vec<Problem> {
    const SETTINGS: [&str; 8] = [
        "evaluate_every",
        "evaluate_each_epoch",
        "evaluate_at_start",
        "evaluate_limit",
        "best_by",
        "patience",
        "min_delta",
        "keep_best",
    ];
    if let Some(sets) = sets {
        return repeated(cell, EVALUATE_ON, sets).into_iter().collect();
    }
    let given = SETTINGS.iter().filter_map(|key| cell.table.entry(key));
    let problem = |entry: &Entry| {
        Problem::at(
            &entry.key_at,
            format!("`{}` has no effect without `{EVALUATE_ON}`", entry.key),
            "not used",
        )
        .hint(format!(
            "name the sets to evaluate on: {EVALUATE_ON} = \"SET\""
        ))
    };
    given.map(problem).collect()
}

/// A set named twice would be reported, or weighed, twice under one name.
fn repeated(cell: &Cell, field: &str, data: &OneOrMany) -> Option<Problem> {
    let names = data.names();
    let (index, name) = names
        .iter()
        .enumerate()
        .find(|(index, name)| names[..*index].contains(name))?;
    let nodes = cell.table.get(field).map(Node::one_or_many)?;
    Some(
        Problem::at(
            &nodes.get(index)?.at,
            format!("`{}` names `{name}` twice", cell.base),
            "again",
        )
        .hint(format!(
            "name each {} once",
            if field == "model" { "model" } else { "set" }
        )),
    )
}

fn judge_mode(cell: &Cell, judge: &Judge) -> Vec<Problem> {
    let problem = |key: &str, message: String, label: &str, hint: &str| {
        vec![Problem::at(at(cell, key), message, label).hint(hint)]
    };
    let both = "use `model` (a reward model judges), or `endpoint` and `judge_model` (a remote model judges)";
    match (&judge.model, &judge.endpoint, &judge.judge_model) {
        (Some(_), None, None) | (None, Some(_), Some(_)) => Vec::new(),
        (Some(_), endpoint, _) => {
            let key = if endpoint.is_some() {
                "endpoint"
            } else {
                "judge_model"
            };
            let message = format!("`{}` has two judges", cell.base);
            problem(key, message, "the second judge", both)
        }
        (None, None, None) => problem(
            "",
            format!("`{}` has no judge", cell.base),
            "no judge",
            both,
        ),
        (None, Some(_), None) => problem(
            "endpoint",
            format!("`{}` does not say which model judges", cell.base),
            "which model?",
            "add judge_model = \"NAME\", as the endpoint calls it",
        ),
        (None, None, Some(_)) => problem(
            "judge_model",
            format!("`{}` does not say where its judge is", cell.base),
            "at which endpoint?",
            "add endpoint = \"NAME\", an endpoint of the site file",
        ),
    }
}

/// Settings of one form that a set of another has no use for.
fn import_form(cell: &Cell, import: &Import) -> Vec<Problem> {
    let Some(format) = import.format else {
        return Vec::new();
    };
    let settings = [
        ("language", RawFormat::Oasst),
        ("rating", RawFormat::Ultrafeedback),
    ];
    let unused = settings.iter().filter(|(_, form)| *form != format);
    let problem = |(key, form): &(&str, RawFormat)| {
        let entry = cell.table.entry(key)?;
        let message = format!(
            "`{key}` has no effect on rows of the form {}",
            format.name()
        );
        let problem = Problem::at(&entry.key_at, message, "not used");
        Some(problem.hint(format!("it belongs to format = \"{}\"", form.name())))
    };
    unused.filter_map(problem).collect()
}

fn select_strategy(cell: &Cell, select: &Select) -> Vec<Problem> {
    let unused = |key: &str, strategy: &str| {
        cell.table.entry(key).map(|entry| {
            Problem::at(
                &entry.key_at,
                format!("`{key}` has no effect on this strategy"),
                "not used",
            )
            .hint(format!("it belongs to strategy = \"{strategy}\""))
        })
    };
    let mut problems = Vec::new();
    if select.strategy == Strategy::Threshold {
        if select.threshold.is_none() {
            problems.push(
                Problem::at(
                    at(cell, "strategy"),
                    format!("`{}` needs {}", cell.base, suggest::list(&["threshold"])),
                    "takes every response above a threshold",
                )
                .hint("add threshold = 0.0, the lowest score to take"),
            );
        }
    } else {
        problems.extend(unused("threshold", "threshold"));
    }
    if select.strategy != Strategy::TopK {
        problems.extend(unused("k", "top-k"));
    }
    problems
}
