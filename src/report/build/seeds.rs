//! Means over seeds of what was measured of reward models.

use moreline_protocol::spec::StageKind;
use moreline_stats::describe;
use moreline_stats::interval::of_mean;

use super::super::input::ReportStage;
use super::super::model::{Align, BarSeries, Bars, Block, Chart, Estimate, Figure, Panel, Table};
use super::super::number;
use super::Source;
use super::rewards::all_sets;
use crate::config::name_in_cell;

/// The matrix variable whose values are repetitions.
const SEED: &str = "seed";
/// Level of the intervals.
const LEVEL: f64 = 0.95;

/// Evaluations that differ in their seed alone.
struct Repeated<'a> {
    name: String,
    stages: Vec<&'a ReportStage>,
}

/// A chart and tables of the means over seeds; nothing without a variable
/// `seed` in the matrix, or where no evaluation was repeated.
pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let mut stages = source.of_kind(StageKind::EvaluateReward);
    stages.retain(|stage| stage.state.has_results() && has_seed(stage));
    let groups = repeated(&stages);
    if !groups.iter().any(|group| group.stages.len() > 1) {
        return Vec::new();
    }
    let sets = all_sets(&stages);
    vec![
        Block::Paragraph(
            "Means over seeds, with 95 % intervals from Student's t: they tell how much another \
             seed may change, where the intervals of a single evaluation tell how much other \
             records may."
                .into(),
        ),
        figure(&groups),
        table(
            &groups,
            &sets,
            ("Accuracy, means over seeds", "accuracy", true),
        ),
        table(&groups, &sets, ("ECE, means over seeds", "ece", false)),
    ]
}

fn has_seed(stage: &ReportStage) -> bool {
    stage.cell.iter().any(|(name, _)| name == SEED)
}

/// The stages by what they have in common, in the order of their first.
fn repeated<'a>(stages: &[&'a ReportStage]) -> Vec<Repeated<'a>> {
    let mut groups: Vec<Repeated<'a>> = Vec::new();
    for stage in stages {
        let name = common_name(stage);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.stages.push(stage),
            None => groups.push(Repeated {
                name,
                stages: vec![stage],
            }),
        }
    }
    groups
}

/// A stage's name without its seed: `evaluate:more` of `evaluate:more,0`.
fn common_name(stage: &ReportStage) -> String {
    let others = stage.cell.iter().filter(|(name, _)| name != SEED);
    name_in_cell(&stage.base, others.map(|(_, value)| value.as_str()))
}

/// The mean of a figure; its interval if it was found more than once.
fn mean(group: &Repeated<'_>, path: &[&str]) -> Option<Estimate> {
    let values: Vec<f64> = group
        .stages
        .iter()
        .filter_map(|stage| stage.number(path))
        .collect();
    let interval = of_mean(&values, LEVEL).ok();
    Some(Estimate {
        value: describe::mean(&values).ok()?,
        low: interval.map(|bounds| bounds.lower),
        high: interval.map(|bounds| bounds.upper),
    })
}

fn figure(groups: &[Repeated<'_>]) -> Block {
    Block::Figure(Figure {
        caption: "Accuracy and expected calibration error (ECE), means over sets and seeds with \
                  95 % intervals."
            .into(),
        panels: vec![
            panel(groups, ("Accuracy", "accuracy"), |_| 1.0),
            panel(groups, ("ECE", "ece"), |highest| {
                (highest * 1.1).clamp(0.01, 1.0)
            }),
        ],
    })
}

/// A bar for each group; `most` gives the axis' end from the highest bound.
fn panel(
    groups: &[Repeated<'_>],
    (title, metric): (&str, &str),
    most: impl Fn(f64) -> f64,
) -> Panel {
    let means: Vec<_> = groups
        .iter()
        .map(|group| mean(group, &["mean", metric]))
        .collect();
    let bounds = means.iter().flatten();
    let highest = bounds
        .map(|found| found.high.unwrap_or(found.value))
        .fold(0.0, f64::max);
    let series = groups.iter().zip(means).enumerate();
    let series = series.map(|(colour, (group, mean))| BarSeries {
        name: group.name.clone(),
        colour,
        values: vec![mean],
    });
    Panel {
        title: format!("{title}, mean over sets"),
        chart: Chart::Bars(Bars {
            y_label: title.into(),
            categories: vec!["all sets".into()],
            series: series.collect(),
            reference: None,
            most: most(highest),
        }),
    }
}

fn table(
    groups: &[Repeated<'_>],
    sets: &[String],
    (caption, metric, percent): (&str, &str, bool),
) -> Block {
    let mut table = Table::new(caption)
        .column("method", Align::Text)
        .numbers(["seeds"])
        .numbers(sets.iter().map(String::as_str))
        .numbers(["mean over sets"]);
    let shown = |estimate: Option<Estimate>| match estimate {
        None => number::NONE.to_owned(),
        Some(found) if percent => {
            number::percent_interval(Some(found.value), found.low, found.high)
        }
        Some(found) => number::with_interval(found.value, found.low.zip(found.high), 3),
    };
    for group in groups {
        let mut row = vec![group.name.clone(), group.stages.len().to_string()];
        let own = sets.iter().map(|set| mean(group, &["sets", set, metric]));
        row.extend(own.map(shown));
        row.push(shown(mean(group, &["mean", metric])));
        table.row(row);
    }
    Block::Table(table)
}
