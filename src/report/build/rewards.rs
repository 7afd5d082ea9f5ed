//! Accuracy of the reward models, by task and method.

use moreline_protocol::artifact::{MODEL, split_step};
use moreline_protocol::spec::StageKind;

use super::super::input::ReportStage;
use super::super::model::{Align, BarSeries, Bars, Block, Chart, Estimate, Figure, Panel, Table};
use super::super::number;
use super::labels::short_names;
use super::{Source, absent, margins, paired, seeds};

/// More series than this are unreadable side by side.
const MOST_SERIES: usize = 8;

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    if source.of_kind(StageKind::EvaluateReward).is_empty() {
        return vec![absent(
            "evaluation of a reward model",
            StageKind::EvaluateReward,
        )];
    }
    let mut blocks = Vec::new();
    let stages = source.finished(StageKind::EvaluateReward, &mut blocks);
    if stages.is_empty() {
        return blocks;
    }
    let sets = all_sets(&stages);
    blocks.push(Block::Paragraph(
        "Accuracy is the share of pairs whose better response has the higher reward; equal rewards \
         count a half. Pairs with equal scores in the data are left out. Intervals are 95 %."
            .into(),
    ));
    blocks.push(figure(source, &stages, &sets));
    let (table, top) = table(source, &stages, &sets);
    blocks.push(table);
    blocks.extend(top);
    blocks.extend(seeds::blocks(source));
    blocks.extend(ties(&stages));
    blocks.extend(paired::blocks(source, &stages));
    blocks.extend(margins::blocks(source));
    blocks
}

/// Every set of the stages, in the order of their first mention.
pub(super) fn all_sets(stages: &[&ReportStage]) -> Vec<String> {
    let mut sets = Vec::new();
    for set in stages.iter().flat_map(|stage| stage.sets()) {
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets
}

fn estimate(stage: &ReportStage, set: &str) -> Option<Estimate> {
    Some(Estimate {
        value: stage.number(&["sets", set, "accuracy"])?,
        low: stage.number(&["sets", set, "accuracy_low"]),
        high: stage.number(&["sets", set, "accuracy_high"]),
    })
}

fn figure(source: &Source<'_>, stages: &[&ReportStage], sets: &[String]) -> Block {
    let names = short_names(stages);
    let shown = stages.iter().zip(names).enumerate().take(MOST_SERIES);
    let series = shown.map(|(i, (stage, name))| BarSeries {
        name,
        colour: source.labels.stage_colour(stage, i),
        values: sets.iter().map(|set| estimate(stage, set)).collect(),
    });
    let bars = Bars {
        y_label: "accuracy".into(),
        categories: sets.to_vec(),
        series: series.collect(),
        reference: Some((0.5, "chance".into())),
        most: 1.0,
    };
    let more = stages.len().saturating_sub(MOST_SERIES);
    let rest = if more > 0 {
        format!(" The first {MOST_SERIES} evaluations are drawn; the table has {more} more.")
    } else {
        String::new()
    };
    Block::Figure(Figure {
        caption: format!("Accuracy on each set, with 95 % intervals.{rest}"),
        panels: vec![Panel {
            title: "Accuracy of the reward models".into(),
            chart: Chart::Bars(bars),
        }],
    })
}

fn table(source: &Source<'_>, stages: &[&ReportStage], sets: &[String]) -> (Block, Option<Block>) {
    let names = short_names(stages);
    let pooled = stages.iter().any(|stage| pooled(stage).is_some());
    let mut table = Table::new("Accuracy by set and method, with 95 % intervals")
        .column("method", Align::Text)
        .numbers(sets.iter().map(String::as_str))
        .numbers(["mean over sets"]);
    if pooled {
        table = table.numbers(["all pairs"]);
    }
    for (stage, name) in stages.iter().zip(&names) {
        let mut row = vec![name.clone()];
        row.extend(sets.iter().map(|set| interval(estimate(stage, set))));
        row.push(number::optional_percent(
            stage.number(&["mean", "accuracy"]),
        ));
        row.extend(pooled.then(|| interval(self::pooled(stage))));
        table.row(row);
    }
    let top = top(source, stages, &names, sets);
    let note = top.map(|(mut row, note)| {
        row.extend(pooled.then(|| number::NONE.to_owned()));
        table.row(row);
        Block::Paragraph(note)
    });
    (Block::Table(table), note)
}

fn interval(estimate: Option<Estimate>) -> String {
    number::percent_interval(
        estimate.map(|e| e.value),
        estimate.and_then(|e| e.low),
        estimate.and_then(|e| e.high),
    )
}

fn pooled(stage: &ReportStage) -> Option<Estimate> {
    Some(Estimate {
        value: stage.number(&["pooled", "accuracy"])?,
        low: stage.number(&["pooled", "accuracy_low"]),
        high: stage.number(&["pooled", "accuracy_high"]),
    })
}

/// The best model of each set among those trained on a single set, if there are several: a row
/// of the table, and what it says.
fn top(
    source: &Source<'_>,
    stages: &[&ReportStage],
    names: &[String],
    sets: &[String],
) -> Option<(Vec<String>, String)> {
    let single: Vec<_> = stages
        .iter()
        .zip(names)
        .filter(|(stage, _)| learnt_from(source, stage).is_some_and(|sets| sets == 1))
        .collect();
    if single.len() < 2 {
        return None;
    }
    let best = |set: &String| {
        let found = single
            .iter()
            .filter_map(|(stage, name)| Some((estimate(stage, set)?, *name)));
        found.reduce(|best, other| {
            if other.0.value > best.0.value {
                other
            } else {
                best
            }
        })
    };
    let found: Vec<_> = sets.iter().map(best).collect();
    let mut row = vec!["Top".to_owned()];
    row.extend(found.iter().map(|best| match best {
        Some((estimate, name)) => format!("{} ({name})", number::percent(estimate.value)),
        None => number::NONE.into(),
    }));
    let all: Option<Vec<f64>> = found
        .iter()
        .map(|best| Some(best.as_ref()?.0.value))
        .collect();
    let mean = all.map(|all| all.iter().sum::<f64>() / all.len().max(1) as f64);
    row.push(number::optional_percent(mean));
    let note = "Top is, for each set, the most accurate of the models that were trained on a single \
                set. It is chosen by the very pairs it is measured on, and so looks a little better than it is.";
    Some((row, note.into()))
}

/// How many sets the only model of a stage was trained on.
fn learnt_from(source: &Source<'_>, stage: &ReportStage) -> Option<usize> {
    let models = stage.references(MODEL);
    let [model] = models.as_slice() else {
        return None;
    };
    let (name, _) = split_step(model)?;
    let training = source.stage(name)?;
    (training.kind() == StageKind::TrainReward).then(|| training.references("data").len())
}

/// What becomes of undecided pairs, where there are any.
fn ties(stages: &[&ReportStage]) -> Option<Block> {
    let mut table = Table::new("Ties, and accuracies that treat them otherwise")
        .column("method", Align::Text)
        .column("set", Align::Text)
        .numbers(["pairs", "equal scores in the data", "equal rewards"])
        .numbers(["accuracy", "without equal rewards", "all ties as a half"]);
    let mut any = false;
    for (stage, name) in stages.iter().zip(short_names(stages)) {
        for set in stage.sets() {
            let metric = |metric| stage.number(&["sets", &set, metric]);
            if metric("accuracy_ties_half").is_none() {
                continue;
            }
            let counts = ["pairs", "ties_skipped", "reward_ties"].map(metric);
            any |= counts[1..].iter().any(|count| *count > Some(0.0));
            let mut row = vec![name.clone(), set.clone()];
            row.extend(counts.map(number::optional_count));
            let accuracies = ["accuracy", "accuracy_decided", "accuracy_ties_half"];
            row.extend(accuracies.map(|m| number::optional_percent(metric(m))));
            table.row(row);
        }
    }
    any.then_some(Block::Table(table))
}
