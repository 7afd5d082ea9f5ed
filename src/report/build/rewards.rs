//! Accuracy of the reward models, by task and method.

use moreline_protocol::spec::StageKind;

use super::super::input::ReportStage;
use super::super::model::{Align, BarSeries, Bars, Block, Chart, Estimate, Figure, Panel, Table};
use super::super::number;
use super::labels::short_names;
use super::{Source, absent};

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
        "Accuracy is the share of pairs whose better response has the higher reward. Pairs with \
         equal scores in the data are left out. Intervals are 95 %."
            .into(),
    ));
    blocks.push(figure(source, &stages, &sets));
    blocks.push(table(&stages, &sets));
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

fn table(stages: &[&ReportStage], sets: &[String]) -> Block {
    let mut table = Table::new("Accuracy by set and method, with 95 % intervals")
        .column("method", Align::Text)
        .numbers(sets.iter().map(String::as_str))
        .numbers(["mean over sets"]);
    for (stage, name) in stages.iter().zip(short_names(stages)) {
        let mut row = vec![name];
        row.extend(sets.iter().map(|set| {
            let estimate = estimate(stage, set);
            number::percent_interval(
                estimate.map(|e| e.value),
                estimate.and_then(|e| e.low),
                estimate.and_then(|e| e.high),
            )
        }));
        row.push(number::optional_percent(
            stage.number(&["mean", "accuracy"]),
        ));
        table.row(row);
    }
    Block::Table(table)
}
