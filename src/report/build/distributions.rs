//! Rewards of sampled responses, before and after tuning.

use moreline_protocol::artifact::{RESPONSES, VERDICTS};
use moreline_protocol::rows::{ResponseRow, VerdictRow};
use moreline_protocol::spec::StageKind;
use serde_json::Value;

use super::super::artifacts;
use super::super::input::ReportStage;
use super::super::model::{Align, Block, Chart, Figure, LineSeries, Lines, Panel, Table};
use super::super::number;
use super::histogram::{Sample, histogram};
use super::{Source, absent};

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    scored(source, &mut blocks);
    selected(source, &mut blocks);
    judged(source, &mut blocks);
    blocks
}

fn scored(source: &Source<'_>, blocks: &mut Vec<Block>) {
    if source.of_kind(StageKind::Score).is_empty() {
        blocks.push(absent("scored responses", StageKind::Score));
        return;
    }
    let stages = source.finished(StageKind::Score, blocks);
    let panels: Vec<_> = by_model(&stages)
        .into_iter()
        .filter_map(|(model, stages)| score_panel(model, &stages, blocks))
        .collect();
    if !panels.is_empty() {
        blocks.push(figure(
            "Rewards of sampled responses, one panel per reward model (rewards of different \
             models share no scale); a tick at the foot marks each mean.",
            panels,
        ));
    }
    if !stages.is_empty() {
        blocks.push(score_table(&stages));
    }
    let alone = by_model(&stages)
        .into_iter()
        .filter(|(_, stages)| stages.len() == 1);
    let alone: Vec<_> = alone.map(|(model, _)| model).collect();
    if !alone.is_empty() {
        blocks.push(Block::Missing(format!(
            "Rewards before and after tuning under the same model are not shown for {}: a second \
             score stage, on the tuned model's responses, would give them.",
            alone.join(", ")
        )));
    }
}

/// Score stages by their reward model, in the order of its first mention.
fn by_model<'a>(stages: &[&'a ReportStage]) -> Vec<(String, Vec<&'a ReportStage>)> {
    let mut groups: Vec<(String, Vec<&ReportStage>)> = Vec::new();
    for stage in stages {
        let model = stage.models();
        match groups.iter_mut().find(|(name, _)| *name == model) {
            Some((_, group)) => group.push(stage),
            None => groups.push((model, vec![stage])),
        }
    }
    groups
}

/// Scores of a row's responses.
fn scores(row: &ResponseRow) -> Vec<f64> {
    row.responses
        .iter()
        .filter_map(|response| response.score)
        .collect()
}

/// All responses of each stage and, where prompts have several and only one
/// stage uses the model, the best of each prompt.
fn score_panel(model: String, stages: &[&ReportStage], blocks: &mut Vec<Block>) -> Option<Panel> {
    let mut samples = Vec::new();
    for stage in stages {
        let rows = match artifacts::rows::<ResponseRow>(stage, RESPONSES) {
            Ok(rows) => rows,
            Err(sentence) => {
                blocks.push(Block::Missing(sentence));
                continue;
            }
        };
        let scores: Vec<_> = rows.iter().map(scores).collect();
        samples.push(Sample {
            name: stage.reference("responses").unwrap_or_default(),
            colour: samples.len(),
            values: scores.concat(),
        });
        let several = scores.iter().any(|scores| scores.len() > 1);
        if several && stages.len() == 1 {
            let best = scores
                .iter()
                .filter_map(|s| s.iter().copied().reduce(f64::max));
            samples.push(Sample {
                name: "best of each prompt".into(),
                colour: samples.len(),
                values: best.collect(),
            });
        }
    }
    Some(Panel {
        chart: Chart::Histogram(histogram(samples, "reward")?),
        title: format!("Reward model {model}"),
    })
}

fn score_table(stages: &[&ReportStage]) -> Block {
    let mut table = Table::new("Rewards of sampled responses")
        .column("responses", Align::Text)
        .column("reward model", Align::Text)
        .numbers(["responses", "mean", "standard deviation", "min", "max"])
        .numbers(["mean of each prompt's best"]);
    for stage in stages {
        let name = |role| stage.reference(role).unwrap_or_default();
        let mut row = vec![name("responses"), stage.models()];
        row.push(number::optional_count(stage.number(&["responses"])));
        row.extend(
            ["mean", "sd", "min", "max", "best_mean"]
                .map(|metric| number::optional(stage.number(&[metric]), 3)),
        );
        table.row(row);
    }
    Block::Table(table)
}

fn selected(source: &Source<'_>, blocks: &mut Vec<Block>) {
    if source.of_kind(StageKind::Select).is_empty() {
        blocks.push(absent("selection of responses", StageKind::Select));
        return;
    }
    let stages = source.finished(StageKind::Select, blocks);
    let panels: Vec<_> = stages
        .iter()
        .enumerate()
        .filter_map(|(i, stage)| best_of_panel(source, stage, i))
        .collect();
    if !panels.is_empty() {
        blocks.push(figure(
            "Expected reward of the best of n responses, estimated from the scored ones.",
            panels,
        ));
    }
    if stages.is_empty() {
        return;
    }
    let mut table = Table::new("Rewards before and after selection")
        .column("stage", Align::Text)
        .numbers(["prompts", "selected", "mean before", "mean after"]);
    for stage in stages {
        let mut row = vec![stage.name.clone()];
        row.extend(["prompts", "selected"].map(|m| number::optional_count(stage.number(&[m]))));
        row.extend(["mean_before", "mean_after"].map(|m| number::optional(stage.number(&[m]), 3)));
        table.row(row);
    }
    blocks.push(Block::Table(table));
}

fn best_of_panel(source: &Source<'_>, stage: &ReportStage, position: usize) -> Option<Panel> {
    let points = stage.metrics.get("best_of")?.as_array()?.iter();
    let number = |point: &Value, name: &str| point.get(name).and_then(Value::as_f64);
    let points: Vec<_> = points
        .filter_map(|p| Some((number(p, "n")?, number(p, "expected")?)))
        .collect();
    if points.len() < 2 {
        return None;
    }
    Some(Panel {
        title: stage.name.clone(),
        chart: Chart::Lines(Lines {
            x_label: "n responses per prompt".into(),
            y_label: "expected best reward".into(),
            y_range: None,
            series: vec![LineSeries {
                name: String::new(),
                colour: source.labels.stage_colour(stage, position),
                points,
                raw: Vec::new(),
                marks: true,
            }],
            reference: None,
        }),
    })
}

/// Rewards that embedded judges gave both sides.
fn judged(source: &Source<'_>, blocks: &mut Vec<Block>) {
    let mut panels = Vec::new();
    let stages = source.of_kind(StageKind::Judge);
    for stage in stages.into_iter().filter(|stage| stage.state.has_results()) {
        // The section about the judge says what is wrong with its records.
        let Ok(rows) = artifacts::rows::<VerdictRow>(stage, VERDICTS) else {
            continue;
        };
        let side = |role: &str, index: usize| Sample {
            name: stage.reference(role).unwrap_or_default(),
            colour: 1 - index,
            values: rows
                .iter()
                .filter_map(|row| row.rewards.map(|r| r[index]))
                .collect(),
        };
        if let Some(histogram) = histogram(vec![side("b", 1), side("a", 0)], "judge's reward") {
            panels.push(Panel {
                title: format!("Stage {}", stage.name),
                chart: Chart::Histogram(histogram),
            });
        }
    }
    if !panels.is_empty() {
        blocks.push(figure(
            "Rewards that the embedded judge gave both sides' responses; a tick at the foot marks \
             each mean.",
            panels,
        ));
    }
}

fn figure(caption: &str, panels: Vec<Panel>) -> Block {
    Block::Figure(Figure {
        caption: caption.into(),
        panels,
    })
}
