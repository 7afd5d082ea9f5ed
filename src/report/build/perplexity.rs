//! Perplexity of base and tuned models.

use moreline_protocol::spec::StageKind;

use super::super::input::ReportStage;
use super::super::model::{Align, Block, Table, Tile};
use super::super::number;
use super::rewards::all_sets;
use super::{Source, absent};

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    if source.of_kind(StageKind::Perplexity).is_empty() {
        return vec![absent(
            "perplexity of a language model",
            StageKind::Perplexity,
        )];
    }
    let mut blocks = Vec::new();
    let stages = source.finished(StageKind::Perplexity, &mut blocks);
    if stages.is_empty() {
        return blocks;
    }
    if base(source, &stages).is_none() {
        blocks.push(Block::Missing(
            "No change is shown: it needs one perplexity stage on a model of the [model] tables \
             beside those on tuned ones."
                .into(),
        ));
    }
    blocks.push(table(source, &stages));
    blocks
}

fn model(stage: &ReportStage) -> String {
    stage.reference("model").unwrap_or_default()
}

fn is_tuned(source: &Source<'_>, stage: &ReportStage) -> bool {
    source.stage(&model(stage)).is_some()
}

fn total(stage: &ReportStage) -> Option<f64> {
    stage.number(&["perplexity"])
}

/// The only stage on a model that no stage made.
fn base<'a>(source: &Source<'_>, stages: &[&'a ReportStage]) -> Option<&'a ReportStage> {
    let mut bases = stages.iter().filter(|stage| !is_tuned(source, stage));
    let base = bases.next()?;
    bases.next().is_none().then_some(*base)
}

/// Change against the base on the same data, in percent.
fn change(source: &Source<'_>, stages: &[&ReportStage], stage: &ReportStage) -> Option<f64> {
    let base = base(source, stages)?;
    if base.name == stage.name || base.references("data") != stage.references("data") {
        return None;
    }
    Some(100.0 * (total(stage)? / total(base)? - 1.0))
}

fn signed(percent: f64) -> String {
    let sign = if percent > 0.0 { "+" } else { "" };
    format!("{sign}{} %", number::fixed(percent, 1))
}

fn table(source: &Source<'_>, stages: &[&ReportStage]) -> Block {
    let sets = all_sets(stages);
    let titles: Vec<_> = sets
        .iter()
        .map(|set| format!("{set}: perplexity"))
        .collect();
    let mut table = Table::new("Perplexity of reference answers; lower is better")
        .column("model", Align::Text)
        .column("made by", Align::Text)
        .numbers(titles.iter().map(String::as_str))
        .numbers(["over all sets", "change against base", "tokens", "records"]);
    for stage in stages {
        let made_by = if is_tuned(source, stage) {
            "a stage here"
        } else {
            "given"
        };
        let mut row = vec![model(stage), made_by.to_owned()];
        let metric = |set: &String, name| stage.number(&["sets", set, name]);
        row.extend(
            sets.iter()
                .map(|set| number::optional(metric(set, "perplexity"), 2)),
        );
        row.push(number::optional(total(stage), 2));
        let change = change(source, stages, stage);
        row.push(change.map_or_else(|| number::NONE.into(), signed));
        for name in ["tokens", "records"] {
            let sum = sets.iter().filter_map(|set| metric(set, name)).sum();
            row.push(number::count(sum));
        }
        table.row(row);
    }
    Block::Table(table)
}

/// The change that tuning made, for each tuned model.
pub(super) fn tiles(source: &Source<'_>) -> Vec<Tile> {
    let mut stages = source.of_kind(StageKind::Perplexity);
    stages.retain(|stage| stage.state.has_results());
    let Some(base) = base(source, &stages) else {
        return Vec::new();
    };
    let tuned = stages.iter().filter(|stage| is_tuned(source, stage));
    let tile = |stage: &&ReportStage| Tile {
        label: format!("Perplexity, {} to {}", model(base), model(stage)),
        value: format!(
            "{} → {}",
            number::optional(total(base), 2),
            number::optional(total(stage), 2)
        ),
        remark: change(source, &stages, stage).map_or_else(String::new, signed),
    };
    tuned.map(tile).collect()
}
