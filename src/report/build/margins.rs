//! Margins: how far apart a reward model puts the better and the worse response, and what
//! length has to do with it.

use moreline_protocol::spec::StageKind;
use serde_json::Value;

use super::super::input::ReportStage;
use super::super::model::{Align, Block, Chart, Figure, Panel, Table};
use super::super::number;
use super::Source;
use super::histogram::{Sample, histogram};
use super::labels::short_names;
use super::rewards::all_sets;

/// More series than this hide each other.
const MOST_SERIES: usize = 4;

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let mut stages = source.of_kind(StageKind::EvaluateReward);
    stages.retain(|stage| stage.state.has_results());
    let mut blocks: Vec<Block> = figure(source, &stages).into_iter().collect();
    blocks.extend(lengths(&stages));
    blocks
}

/// A panel for each set, with the margins of the first few stages.
fn figure(source: &Source<'_>, stages: &[&ReportStage]) -> Option<Block> {
    let names = short_names(stages);
    let panel = |set: String| {
        let shown = stages.iter().zip(&names).enumerate().take(MOST_SERIES);
        let samples = shown.map(|(i, (stage, name))| Sample {
            name: name.clone(),
            colour: source.labels.stage_colour(stage, i),
            values: source.evaluations.margins(&stage.name, &set),
        });
        let samples: Vec<_> = samples.filter(|s| !s.values.is_empty()).collect();
        let chart = Chart::Histogram(histogram(samples, "margin")?);
        Some(Panel { title: set, chart })
    };
    let panels: Vec<_> = all_sets(stages).into_iter().filter_map(panel).collect();
    let more = stages.len().saturating_sub(MOST_SERIES);
    let rest = match more {
        0 => String::new(),
        more => format!(" The first {MOST_SERIES} evaluations are drawn, {more} are not."),
    };
    (!panels.is_empty()).then(|| {
        Block::Figure(Figure {
            caption: format!(
                "Margins: reward of the better response less that of the worse, as shares of \
                 each model's pairs. Right of zero the model is right.{rest}"
            ),
            panels,
        })
    })
}

/// Length bias, for the stages that measured it.
fn lengths(stages: &[&ReportStage]) -> Vec<Block> {
    let mut table = Table::new("Rewards and length in tokens")
        .column("method", Align::Text)
        .column("set", Align::Text)
        .numbers(["correlation", "rank correlation"])
        .numbers(["longer is better", "longer is preferred"])
        .numbers(["accuracy, first quartile", "second", "third", "fourth"]);
    for (stage, name) in stages.iter().zip(short_names(stages)) {
        for set in stage.sets() {
            let Some(length) = metric(stage, &set, "length") else {
                continue;
            };
            let number = |name: &str| length.get(name).and_then(Value::as_f64);
            let correlation = stage.number(&["sets", &set, "length_correlation"]);
            let mut row = vec![name.clone(), set.clone()];
            row.push(number::optional(correlation, 2));
            row.push(number::optional(number("rank_correlation"), 2));
            row.push(number::optional_percent(number("longer_better")));
            row.push(number::optional_percent(number("longer_preferred")));
            let quartiles = length.get("quartiles").and_then(Value::as_array);
            let accuracy = |i: usize| quartiles?.get(i)?.get("accuracy")?.as_f64();
            row.extend((0..4).map(|i| number::optional_percent(accuracy(i))));
            table.row(row);
        }
    }
    if table.rows.is_empty() {
        return Vec::new();
    }
    let text = "Correlations are between reward and length over all responses. Of the pairs whose \
                responses differ in length: how often the longer is the better one in the data, \
                and how often it is given the higher reward. Quartiles are of the better response's \
                length less the worse one's: in the first the better one is shorter by most.";
    vec![Block::Table(table), Block::Paragraph(text.into())]
}

/// A metric of a set.
pub(super) fn metric<'a>(stage: &'a ReportStage, set: &str, name: &str) -> Option<&'a Value> {
    stage.metrics.get("sets")?.get(set)?.get(name)
}
