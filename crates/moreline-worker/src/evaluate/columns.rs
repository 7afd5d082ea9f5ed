//! The decided pairs of a set, side by side.

use moreline_protocol::rows::{EvaluationRow, PairRow};
use moreline_stats::logistic::sigmoid;
use moreline_stats::pairwise::{credit, pairs};

/// Adds a record's pairs to it.
///
/// # Errors
/// A reward or score that is not finite.
pub(super) fn add_pairs(record: &mut EvaluationRow) -> moreline_stats::Result<()> {
    let found = pairs(&record.scores, &record.rewards)?.decided;
    record.pairs = found
        .into_iter()
        .map(|pair| PairRow {
            better: pair.better as u64,
            worse: pair.worse as u64,
            margin: pair.margin,
            probability: sigmoid(pair.margin),
            correct: credit(pair.margin),
        })
        .collect();
    Ok(())
}

/// One value for each decided pair of some records.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Reward of the better minus that of the worse.
    pub margins: Vec<f64>,
    /// 1, a half or 0: see [`credit`].
    pub correct: Vec<f64>,
    /// Tokens of the better minus those of the worse.
    pub longer_by: Vec<f64>,
    /// Position of the pair's record among the records.
    pub record: Vec<usize>,
    /// Pairs of equal scores, which have no better one.
    pub ties: usize,
}

impl Columns {
    /// Of records with their pairs.
    pub(super) fn new(records: &[&EvaluationRow]) -> Self {
        let mut columns = Self::default();
        for (index, record) in records.iter().enumerate() {
            let tokens = |response: u64| record.tokens[response as usize] as f64;
            for pair in &record.pairs {
                columns.margins.push(pair.margin);
                columns.correct.push(pair.correct);
                let longer_by = tokens(pair.better) - tokens(pair.worse);
                columns.longer_by.push(longer_by);
                columns.record.push(index);
            }
            let responses = record.scores.len();
            columns.ties += responses * responses.saturating_sub(1) / 2 - record.pairs.len();
        }
        columns
    }
}
