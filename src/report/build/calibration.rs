//! Calibration of the reward models.

use moreline_protocol::spec::StageKind;
use serde_json::Value;

use super::super::input::ReportStage;
use super::super::model::{Align, Block, Chart, Figure, Panel, Reliability, ReliabilityBin, Table};
use super::super::number;
use super::labels::short_names;
use super::{Source, absent, scaling};

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let mut stages = source.of_kind(StageKind::EvaluateReward);
    stages.retain(|stage| stage.state.has_results());
    if stages.is_empty() {
        return vec![absent(
            "calibration with results",
            StageKind::EvaluateReward,
        )];
    }
    let names = short_names(&stages);
    let mut blocks = vec![
        Block::Paragraph(
            "The confidence of a reward model in a pair is the logistic function of the absolute \
             difference of rewards. ECE is the mean gap between confidence and accuracy over \
             equally wide bins weighted by their pairs, ACE the same unweighted, MCE the largest \
             gap; Brier score and NLL (nats) judge the probabilities pair by pair. Lower is better for all five."
                .into(),
        ),
        table(&stages, &names),
    ];
    blocks.extend(scaling::by_bins(&stages, &names));
    blocks.extend(scaling::temperatures(&stages, &names));
    for (i, (stage, name)) in stages.iter().zip(&names).enumerate() {
        let colour = source.labels.stage_colour(stage, i);
        let sets = stage.sets();
        let panels: Vec<_> = sets
            .iter()
            .filter_map(|set| panel(stage, set, colour))
            .collect();
        if panels.is_empty() {
            blocks.push(Block::Missing(format!(
                "Stage {} recorded no reliability bins; they come with its metrics when it runs.",
                stage.name
            )));
        } else {
            blocks.push(Block::Figure(Figure {
                caption: format!(
                    "Reliability of {name}: accuracy of each bin of confidence, with Wilson's 95 % \
                     interval; the diagonal is perfect calibration. Below, the number of pairs in \
                     each bin."
                ),
                panels,
            }));
        }
    }
    blocks
}

fn table(stages: &[&ReportStage], names: &[String]) -> Block {
    let mut table = Table::new("Calibration by method and set")
        .column("method", Align::Text)
        .column("set", Align::Text)
        .numbers([
            "pairs",
            "ties left out",
            "ECE",
            "ACE",
            "MCE",
            "Brier",
            "NLL",
        ])
        .numbers(["mean margin", "reward–length correlation"]);
    for (stage, name) in stages.iter().zip(names) {
        for set in stage.sets() {
            let metric = |metric| stage.number(&["sets", &set, metric]);
            let mut row = vec![name.clone(), set.clone()];
            row.extend(["pairs", "ties_skipped"].map(|m| number::optional_count(metric(m))));
            row.extend(
                ["ece", "ace", "mce", "brier", "nll", "mean_margin"]
                    .map(|m| number::optional(metric(m), 3)),
            );
            row.push(number::optional(metric("length_correlation"), 2));
            table.row(row);
        }
        let mean = |metric| number::optional(stage.number(&["mean", metric]), 3);
        let dash = || number::NONE.to_owned();
        let mut row = vec![name.clone(), "mean over sets".into(), dash(), dash()];
        row.extend(["ece", "ace", "mce"].map(mean));
        row.extend([dash(), dash(), dash(), dash()]);
        table.row(row);
    }
    Block::Table(table)
}

fn panel(stage: &ReportStage, set: &str, colour: usize) -> Option<Panel> {
    let bins = stage.metrics.get("sets")?.get(set)?.get("reliability")?;
    let bins: Vec<_> = bins.as_array()?.iter().filter_map(bin).collect();
    if bins.iter().all(|bin| bin.count == 0.0) {
        return None;
    }
    let ece = stage.number(&["sets", set, "ece"]);
    Some(Panel {
        title: set.to_owned(),
        chart: Chart::Reliability(Reliability {
            colour,
            bins,
            note: format!("ECE {}", number::optional(ece, 3)),
        }),
    })
}

/// A bin; an empty one may lack confidence and accuracy.
fn bin(value: &Value) -> Option<ReliabilityBin> {
    let number = |name| value.get(name).and_then(Value::as_f64);
    let (lower, upper) = (number("lower")?, number("upper")?);
    let count = number("count")?;
    if upper <= lower || count < 0.0 {
        return None;
    }
    Some(ReliabilityBin {
        lower,
        upper,
        count,
        confidence: number("confidence").unwrap_or(f64::midpoint(lower, upper)),
        accuracy: number("accuracy").unwrap_or(0.0),
        interval: number("accuracy_low").zip(number("accuracy_high")),
    })
}
