//! Keys, digests and what the last bits depend on.

use moreline_protocol::event::Fingerprint;

use super::super::model::{Align, Block, Table};
use super::super::number;
use super::Source;

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let stages = &source.input.stages;
    let mut keys = Table::new("Key of each stage")
        .column("stage", Align::Text)
        .column("key", Align::Code);
    let mut digests = Table::new("Digest of each output")
        .column("stage", Align::Text)
        .column("output", Align::Text)
        .column("digest", Align::Code);
    for stage in stages {
        let key = stage.key.clone().unwrap_or_else(|| number::NONE.into());
        keys.row(vec![stage.name.clone(), key]);
        for (name, digest) in &stage.digests {
            digests.row(vec![stage.name.clone(), name.clone(), digest.clone()]);
        }
    }
    let mut blocks = vec![Block::Paragraph(
        "A key covers a stage's parameters and the content of its inputs; equal keys mean equal \
         results, to the byte where the fingerprints below are equal too."
            .into(),
    )];
    let digests = if digests.rows.is_empty() {
        Block::Missing("No digests: no stage has outputs yet.".into())
    } else {
        Block::Table(digests)
    };
    blocks.push(Block::Details {
        summary: "Keys and digests".into(),
        open: false,
        blocks: vec![Block::Table(keys), digests],
    });
    blocks.push(fingerprints(source));
    blocks
}

/// One row for each distinct fingerprint, with the stages that share it.
fn fingerprints(source: &Source<'_>) -> Block {
    let mut groups: Vec<(&Fingerprint, Vec<&str>)> = Vec::new();
    for stage in &source.input.stages {
        let Some(fingerprint) = &stage.fingerprint else {
            continue;
        };
        match groups.iter_mut().find(|(other, _)| *other == fingerprint) {
            Some((_, names)) => names.push(&stage.name),
            None => groups.push((fingerprint, vec![&stage.name])),
        }
    }
    if groups.is_empty() {
        return Block::Missing(
            "No fingerprint was recorded: no stage has run in a worker yet.".into(),
        );
    }
    let mut table = Table::new("What the last bits of the results depend on")
        .column("libtorch", Align::Text)
        .column("device", Align::Text)
        .column("instructions", Align::Text)
        .column("threads", Align::Number)
        .column("fp32 products", Align::Text)
        .column("tokens at once", Align::Number)
        .column("stages", Align::Text);
    for (fingerprint, names) in groups {
        table.row(vec![
            fingerprint.libtorch.clone(),
            fingerprint.device.clone(),
            fingerprint.instructions.clone(),
            fingerprint.threads.to_string(),
            fingerprint.fp32_matmul.clone(),
            fingerprint
                .token_budget
                .map_or_else(String::new, |tokens| tokens.to_string()),
            names.join(", "),
        ]);
    }
    Block::Table(table)
}
