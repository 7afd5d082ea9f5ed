//! Paired comparisons of reward models on the same records.

use super::super::evaluations::Comparison;
use super::super::input::ReportStage;
use super::super::model::{Align, Block, Table};
use super::super::number;
use super::Source;
use super::labels::short_names;

/// A longer table is folded away.
const LONG: usize = 24;

/// A table of every two evaluations that share a set, or nothing; and which records are amiss.
pub(super) fn blocks(source: &Source<'_>, stages: &[&ReportStage]) -> Vec<Block> {
    let unread = source.evaluations.unread.iter().cloned();
    let mut blocks: Vec<Block> = unread.map(Block::Missing).collect();
    if !source.evaluations.comparisons.is_empty() {
        blocks.extend(comparisons(source, stages));
    }
    blocks
}

fn comparisons(source: &Source<'_>, stages: &[&ReportStage]) -> Vec<Block> {
    let found = &source.evaluations.comparisons;
    let text = format!(
        "Where two stages evaluated the same records they are compared pair by pair: the \
         difference of their accuracies (first less second) with a 95 % interval from a bootstrap of whole \
         records, and McNemar's exact test of the pairs that only one of them has right. \
         Agreement is the share of pairs that both have right or both wrong, κ is Cohen's kappa \
         of that. The p values are not corrected for the number of comparisons.{}",
        match source.evaluations.left_out {
            0 => String::new(),
            more => format!(" The last {more} evaluations are left out."),
        }
    );
    let table = Block::Table(table(found, stages));
    let blocks = vec![Block::Paragraph(text), table];
    if found.len() <= LONG {
        return blocks;
    }
    vec![Block::Details {
        summary: format!("Paired comparisons ({})", found.len()),
        open: false,
        blocks,
    }]
}

fn table(found: &[Comparison], stages: &[&ReportStage]) -> Table {
    let names = short_names(stages);
    let short = |name: &str| {
        let found = stages
            .iter()
            .zip(&names)
            .find(|(stage, _)| stage.name == name);
        found.map_or_else(|| name.to_owned(), |(_, short)| short.clone())
    };
    let mut table = Table::new("Paired comparisons of accuracy, in percentage points")
        .column("first", Align::Text)
        .column("second", Align::Text)
        .column("set", Align::Text)
        .numbers([
            "pairs",
            "difference",
            "only first right",
            "only second right",
        ])
        .numbers(["McNemar p", "agreement", "κ"]);
    for one in found {
        table.row(vec![
            short(&one.a),
            short(&one.b),
            one.set.clone(),
            number::count(one.pairs as f64),
            number::points_interval(one.difference, one.difference_low, one.difference_high),
            number::count(one.only_a as f64),
            number::count(one.only_b as f64),
            number::p_value(one.mcnemar_p),
            number::percent(one.agreement),
            number::optional(one.kappa, 2),
        ]);
    }
    table
}
