//! The resolved parameters of each stage.

use serde_json::Value;

use super::super::input::ReportStage;
use super::super::model::{Align, Block, Table};
use super::Source;

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let stages = source.input.stages.iter();
    let mut blocks = vec![Block::Paragraph(
        "Every parameter as resolved, defaults included; references are names of models, sets \
         and stages."
            .into(),
    )];
    blocks.extend(stages.map(|stage| Block::Details {
        summary: format!("{} ({})", stage.name, stage.kind().name()),
        open: false,
        blocks: vec![table(stage)],
    }));
    blocks
}

fn table(stage: &ReportStage) -> Block {
    let mut table = Table::new(format!("Settings of {}", stage.name))
        .column("parameter", Align::Code)
        .column("value", Align::Code);
    let spec = serde_json::to_value(&stage.spec).unwrap_or_default();
    for (name, value) in spec.as_object().into_iter().flatten() {
        if name != "kind" && !value.is_null() {
            table.row(vec![name.clone(), text(value)]);
        }
    }
    Block::Table(table)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
