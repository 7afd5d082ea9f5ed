//! Loss curves and task weights of the training stages.

use std::collections::BTreeSet;

use moreline_protocol::artifact::HISTORY;
use moreline_protocol::rows::HistoryRow;
use moreline_protocol::spec::StageKind;

use super::super::artifacts;
use super::super::input::ReportStage;
use super::super::model::{Align, Block, Chart, Figure, LineSeries, Lines, Panel, Table};
use super::super::number;
use super::labels::short_names;
use super::{Source, absent};

/// A training stage with its history.
struct Run<'a> {
    stage: &'a ReportStage,
    name: String,
    rows: Vec<HistoryRow>,
}

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for kind in [StageKind::TrainReward, StageKind::Sft] {
        if source.of_kind(kind).is_empty() {
            let what = if kind == StageKind::Sft {
                "fine-tuning"
            } else {
                "reward training"
            };
            blocks.push(absent(what, kind));
            continue;
        }
        let stages = source.finished(kind, &mut blocks);
        if !stages.is_empty() {
            kind_blocks(source, kind, &stages, &mut blocks);
        }
    }
    blocks
}

fn kind_blocks(
    source: &Source<'_>,
    kind: StageKind,
    stages: &[&ReportStage],
    blocks: &mut Vec<Block>,
) {
    let mut runs = Vec::new();
    for (stage, name) in stages.iter().zip(short_names(stages)) {
        match artifacts::rows::<HistoryRow>(stage, HISTORY) {
            Ok(rows) if !rows.is_empty() => runs.push(Run { stage, name, rows }),
            Ok(_) => blocks.push(Block::Missing(format!(
                "The history of stage {} is empty: it trained for no step.",
                stage.name
            ))),
            Err(sentence) => blocks.push(Block::Missing(sentence)),
        }
    }
    if !runs.is_empty() {
        blocks.push(losses(source, kind, &runs));
    }
    for run in &runs {
        blocks.extend(per_set(source, run));
        blocks.extend(held_out(source, run));
    }
    blocks.push(summary(kind, stages));
    blocks.extend(mean_weights(stages));
    blocks.push(tenths(kind, stages));
}

/// Steps that a smoothed point looks at, to either side and its own.
fn window(steps: usize) -> usize {
    (steps / 12).max(1) | 1
}

/// The values of a name over the steps.
fn values(run: &Run<'_>, name: &str) -> Vec<(f64, f64)> {
    let value = |row: &HistoryRow| Some((row.step as f64, *row.values.get(name)?));
    let points = run.rows.iter().filter_map(value);
    points.filter(|(_, y)| y.is_finite()).collect()
}

/// The centred mean over a window, cut at the ends.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = window(points.len()) / 2;
    let at = |i: usize| {
        let around = &points[i.saturating_sub(half)..(i + half + 1).min(points.len())];
        let sum: f64 = around.iter().map(|(_, y)| y).sum();
        (points[i].0, sum / around.len() as f64)
    };
    (0..points.len()).map(at).collect()
}

fn losses(source: &Source<'_>, kind: StageKind, runs: &[Run<'_>]) -> Block {
    let curve = |(i, run): (usize, &Run<'_>)| {
        let raw = values(run, "loss");
        LineSeries {
            name: run.name.clone(),
            colour: source.labels.stage_colour(run.stage, i),
            points: smooth(&raw),
            raw,
            marks: false,
        }
    };
    let series: Vec<_> = runs.iter().enumerate().map(curve).collect();
    let steps = series.iter().map(|s| s.points.len()).max().unwrap_or(0);
    let reward = kind == StageKind::TrainReward;
    let lines = Lines {
        x_label: "optimiser step".into(),
        y_label: if reward {
            "ranking loss (nats)"
        } else {
            "loss (nats per token)"
        }
        .into(),
        y_range: None,
        series,
        reference: reward.then(|| (std::f64::consts::LN_2, "ln 2: no preference".into())),
    };
    Block::Figure(Figure {
        caption: format!(
            "Loss of {}: faint, each step; strong, the centred mean over {} steps.",
            kind.name(),
            window(steps)
        ),
        panels: vec![Panel {
            title: format!("Loss, {}", kind.name()),
            chart: Chart::Lines(lines),
        }],
    })
}

/// The sets that a history has values of under a prefix, in the stage's order.
fn sets_of(run: &Run<'_>, prefix: &str) -> Vec<String> {
    let names = run.rows.iter().flat_map(|row| row.values.keys());
    let found: BTreeSet<_> = names.filter_map(|name| name.strip_prefix(prefix)).collect();
    let mut sets = run.stage.references("data");
    sets.retain(|set| found.contains(set.as_str()));
    let rest: Vec<_> = found
        .iter()
        .filter(|set| !sets.iter().any(|s| s == *set))
        .collect();
    sets.extend(rest.into_iter().map(|set| (*set).to_owned()));
    sets
}

fn set_curves(source: &Source<'_>, run: &Run<'_>, prefix: &str) -> Vec<LineSeries> {
    let curve = |set: String| LineSeries {
        points: smooth(&values(run, &format!("{prefix}{set}"))),
        raw: Vec::new(),
        colour: source.labels.set_colour(&set),
        name: set,
        marks: false,
    };
    sets_of(run, prefix).into_iter().map(curve).collect()
}

/// Losses and weights of each set, if there are several.
fn per_set(source: &Source<'_>, run: &Run<'_>) -> Option<Block> {
    let mut panels = Vec::new();
    let losses = set_curves(source, run, "loss/");
    if losses.len() > 1 {
        panels.push(Panel {
            title: format!("Loss by set, {}", run.name),
            chart: Chart::Lines(Lines {
                x_label: "optimiser step".into(),
                y_label: "ranking loss (nats)".into(),
                y_range: None,
                series: losses,
                reference: Some((std::f64::consts::LN_2, "ln 2".into())),
            }),
        });
    }
    let weights = set_curves(source, run, "weight/");
    let weighted = weights.len() > 1;
    if weighted {
        panels.push(Panel {
            title: format!("Task weights, {}", run.name),
            chart: Chart::Areas(Lines {
                x_label: "optimiser step".into(),
                y_label: "weight".into(),
                y_range: Some((0.0, 1.0)),
                series: weights,
                reference: None,
            }),
        });
    }
    let tail = if weighted {
        "; and the weights that the sets' losses were combined with, stacked"
    } else {
        ""
    };
    (!panels.is_empty()).then(|| {
        Block::Figure(Figure {
            caption: format!(
                "Stage {}: loss of each set{tail}. Centred means over {} steps.",
                run.stage.name,
                window(run.rows.len())
            ),
            panels,
        })
    })
}

/// What evaluation found on the way, for each set nothing was learnt from.
fn held_out(source: &Source<'_>, run: &Run<'_>) -> Option<Block> {
    let mut panels = Vec::new();
    for (figure, label) in [("loss", "loss (nats)"), ("accuracy", "accuracy")] {
        let series = held_out_curves(source, run, figure);
        if series.is_empty() {
            continue;
        }
        panels.push(Panel {
            title: format!("Held-out {figure}, {}", run.name),
            chart: Chart::Lines(Lines {
                x_label: "optimiser step".into(),
                y_label: label.into(),
                y_range: (figure == "accuracy").then_some((0.0, 1.0)),
                series,
                reference: (figure == "accuracy").then(|| (0.5, "chance".into())),
            }),
        });
    }
    let count = |name| number::optional_count(run.stage.number(&[name]));
    (!panels.is_empty()).then(|| {
        Block::Figure(Figure {
            caption: format!(
                "Stage {}: evaluation while training. The best was after step {}; the weights \
                 given are those after step {}.",
                run.stage.name,
                count("best_step"),
                count("given_step"),
            ),
            panels,
        })
    })
}

fn held_out_curves(source: &Source<'_>, run: &Run<'_>, figure: &str) -> Vec<LineSeries> {
    let names = run.rows.iter().flat_map(|row| row.values.keys());
    let set = |name: &str| {
        let set = name.strip_prefix("eval/")?.strip_suffix(figure)?;
        Some(set.strip_suffix('/')?.to_owned())
    };
    let sets: BTreeSet<String> = names.filter_map(|name| set(name)).collect();
    let curve = |set: String| LineSeries {
        points: values(run, &format!("eval/{set}/{figure}")),
        raw: Vec::new(),
        colour: source.labels.set_colour(&set),
        name: set,
        marks: true,
    };
    sets.into_iter().map(curve).collect()
}

fn summary(kind: StageKind, stages: &[&ReportStage]) -> Block {
    let reward = kind == StageKind::TrainReward;
    let mut table = Table::new(format!("What {} did", kind.name()))
        .column("stage", Align::Text)
        .numbers(["steps"]);
    table = if reward {
        table.numbers([
            "rows",
            "pairs",
            "left out",
            "final loss",
            "tokens",
            "saved by sharing",
        ])
    } else {
        table.numbers(["examples", "final loss", "tokens"])
    };
    for stage in stages {
        let count = |name| number::optional_count(stage.number(&[name]));
        let mut row = vec![stage.name.clone(), count("steps")];
        if reward {
            row.extend([count("rows"), count("pairs"), dropped(stage)]);
        } else {
            row.push(count("examples"));
        }
        row.push(number::optional(stage.number(&["final_loss"]), 3));
        row.push(count("tokens"));
        if reward {
            row.push(number::optional_percent(
                stage.number(&["tokens_shared_share"]),
            ));
        }
        table.row(row);
    }
    Block::Table(table)
}

/// Rows left out, by reason: `3 too long, 1 identical`.
fn dropped(stage: &ReportStage) -> String {
    let Some(reasons) = stage.metrics.get("dropped").and_then(|d| d.as_object()) else {
        return number::NONE.into();
    };
    let reasons = reasons.iter().filter_map(|(reason, count)| {
        let count = count.as_f64().filter(|count| *count > 0.0)?;
        Some(format!(
            "{} {}",
            number::count(count),
            reason.replace('_', " ")
        ))
    });
    let text = reasons.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "0".into() } else { text }
}

/// Mean weight of each set, for the stages that weigh them.
fn mean_weights(stages: &[&ReportStage]) -> Option<Block> {
    let weighing: Vec<_> = stages
        .iter()
        .filter_map(|stage| Some((stage, stage.metrics.get("weights")?.as_object()?)))
        .filter(|(_, weights)| !weights.is_empty())
        .collect();
    let named = |(stage, weights): &(&&ReportStage, &serde_json::Map<_, _>)| {
        let mut names = stage.references("data");
        names.retain(|name| weights.contains_key(name));
        names.extend(weights.keys().cloned());
        names
    };
    let mut sets: Vec<String> = Vec::new();
    for set in weighing.iter().flat_map(named) {
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    let mut table = Table::new("Mean weight of each set's loss")
        .column("stage", Align::Text)
        .numbers(sets.iter().map(String::as_str));
    for (stage, weights) in weighing {
        let weight = |set: &String| weights.get(set).and_then(serde_json::Value::as_f64);
        let mut row = vec![stage.name.clone()];
        row.extend(sets.iter().map(|set| number::optional(weight(set), 3)));
        table.row(row);
    }
    (!table.rows.is_empty()).then_some(Block::Table(table))
}

fn tenths(kind: StageKind, stages: &[&ReportStage]) -> Block {
    let losses: Vec<_> = stages
        .iter()
        .map(|stage| stage.numbers("loss_by_tenths"))
        .collect();
    let columns = losses.iter().map(Vec::len).max().unwrap_or(0);
    if columns == 0 {
        return Block::Missing(format!(
            "No {} stage recorded its loss by tenths of the training.",
            kind.name()
        ));
    }
    let titles: Vec<_> = (1..=columns).map(|i| i.to_string()).collect();
    let mut table = Table::new(format!("Mean loss in each tenth of {}", kind.name()))
        .column("stage", Align::Text)
        .numbers(titles.iter().map(String::as_str));
    for (stage, losses) in stages.iter().zip(losses) {
        let mut row = vec![stage.name.clone()];
        row.extend((0..columns).map(|i| number::optional(losses.get(i).copied(), 3)));
        table.row(row);
    }
    Block::Table(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_lines_straight_away_from_the_ends() {
        let line: Vec<_> = (0..60)
            .map(|i| (f64::from(i), 3.0 - f64::from(i) / 7.0))
            .collect();
        let smoothed = smooth(&line);
        for (smoothed, raw) in smoothed.iter().zip(&line).skip(2).take(56) {
            assert!((smoothed.1 - raw.1).abs() < 1e-12, "{smoothed:?} {raw:?}");
        }
        // Window 5, cut to the first three points at the start.
        assert!((smoothed[0].1 - (3.0 - 1.0 / 7.0)).abs() < 1e-12);
    }
}
