//! What each stage cost.

use super::super::input::ReportStage;
use super::super::model::{Align, Block, Table};
use super::super::number;
use super::Source;

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    if source
        .input
        .stages
        .iter()
        .all(|stage| stage.seconds.is_none())
    {
        return vec![Block::Missing(
            "No stage has timings yet; moreline run gives them.".into(),
        )];
    }
    let mut table = Table::new("Time and memory of each stage")
        .column("stage", Align::Text)
        .column("kind", Align::Text)
        .column("state", Align::Text)
        .numbers(["time", "of it set-up", "tokens/s", "pairs/s", "peak memory"]);
    for stage in &source.input.stages {
        table.row(row(stage));
    }
    let total: f64 = source
        .input
        .stages
        .iter()
        .filter_map(|stage| stage.seconds)
        .sum();
    let peak = source
        .input
        .stages
        .iter()
        .filter_map(|s| s.timings.get("peak_memory_mb"));
    let peak = peak.copied().reduce(f64::max);
    let blank = String::new;
    let mut last = vec!["all".into(), blank(), blank(), number::duration(total)];
    last.extend([blank(), blank(), blank(), memory(peak)]);
    table.row(last);
    vec![
        Block::Paragraph(
            "A cached stage shows what it cost when it ran. Peak memory is that of the stage's \
             own process."
                .into(),
        ),
        Block::Table(table),
    ]
}

fn row(stage: &ReportStage) -> Vec<String> {
    let timing = |name: &str| stage.timings.get(name).copied();
    let seconds = |value: Option<f64>| value.map_or_else(|| number::NONE.into(), number::duration);
    let rate = |name| timing(name).map_or_else(|| number::NONE.into(), rate);
    vec![
        stage.name.clone(),
        stage.kind().name().into(),
        stage.state.word().into(),
        seconds(stage.seconds.or_else(|| timing("total_s"))),
        seconds(timing("setup_s")),
        rate("tokens_per_s"),
        rate("pairs_per_s"),
        memory(timing("peak_memory_mb")),
    ]
}

fn rate(value: f64) -> String {
    if value >= 100.0 {
        number::count(value)
    } else {
        number::significant(value, 3)
    }
}

fn memory(megabytes: Option<f64>) -> String {
    megabytes.map_or_else(
        || number::NONE.into(),
        |mb| format!("{} MB", number::count(mb)),
    )
}
