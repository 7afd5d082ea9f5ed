//! Calibration by numbers of bins, and what temperature scaling would make of it.

use serde_json::Value;

use super::super::input::ReportStage;
use super::super::model::{Align, Block, Table};
use super::super::number;
use super::margins::metric;

/// ECE, ACE and MCE for every kind and number of bins that was measured.
pub(super) fn by_bins(stages: &[&ReportStage], names: &[String]) -> Option<Block> {
    let mut table = Table::new("Calibration errors by edges and number of bins")
        .column("method", Align::Text)
        .column("set", Align::Text)
        .column("edges", Align::Text)
        .numbers(["bins", "ECE", "ACE", "MCE"]);
    for (stage, name) in stages.iter().zip(names) {
        for set in stage.sets() {
            let all = metric(stage, &set, "calibration").and_then(Value::as_object);
            let mut all: Vec<_> = all
                .into_iter()
                .flatten()
                .filter_map(|(name, errors)| {
                    let (edges, bins) = name.split_once('-')?;
                    Some((edges, bins.parse::<u32>().ok()?, errors))
                })
                .collect();
            all.sort_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
            for (edges, bins, errors) in all {
                let error = |name| number::optional(errors.get(name).and_then(Value::as_f64), 3);
                let edges = match edges {
                    "uniform" => "equal widths",
                    _ => "quantiles",
                };
                let mut row = vec![name.clone(), set.clone(), edges.into(), bins.to_string()];
                row.extend(["ece", "ace", "mce"].map(error));
                table.row(row);
            }
        }
    }
    (!table.rows.is_empty()).then(|| Block::Details {
        summary: "Calibration errors by edges and number of bins".into(),
        open: false,
        blocks: vec![Block::Table(table)],
    })
}

/// Temperatures fitted on one half and measured on the other.
pub(super) fn temperatures(stages: &[&ReportStage], names: &[String]) -> Vec<Block> {
    let mut table = Table::new("Temperature scaling, each half scaled by the other's temperature")
        .column("method", Align::Text)
        .column("set", Align::Text)
        .numbers(["T, first half", "T, second half"])
        .numbers(["NLL before", "NLL after", "ECE before", "ECE after"]);
    let mut reasons = Vec::new();
    for (stage, name) in stages.iter().zip(names) {
        for set in stage.sets() {
            let Some(found) = metric(stage, &set, "temperature") else {
                continue;
            };
            if let Some(reason) = found.get("undetermined").and_then(Value::as_str) {
                reasons.push(format!("{name} on {set}: {reason}"));
            }
            let number = |path: &[&str]| {
                let value = path.iter().try_fold(found, |value, name| value.get(*name));
                number::optional(value.and_then(Value::as_f64), 3)
            };
            let mut row = vec![name.clone(), set.clone()];
            row.extend(["first_half", "second_half"].map(|half| number(&[half, "temperature"])));
            let changes = ["nll_before", "nll_after", "ece_before", "ece_after"];
            row.extend(changes.map(|name| number(&[name])));
            table.row(row);
        }
    }
    if table.rows.is_empty() {
        return Vec::new();
    }
    let mut text = String::from(
        "Margins are divided by a temperature T that minimises the NLL of one half of the records, \
         and measured on the other half; both ways. T above 1 says that the model is too sure of itself.",
    );
    if !reasons.is_empty() {
        text.push_str(&format!(" No temperature: {}.", reasons.join("; ")));
    }
    vec![Block::Table(table), Block::Paragraph(text)]
}
