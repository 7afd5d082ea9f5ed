//! What reward models said of the same records, and whether they differ.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use moreline_protocol::artifact::RECORDS;
use moreline_protocol::rows::EvaluationRow;
use moreline_protocol::spec::StageKind;
use moreline_stats::agreement::agreement;
use moreline_stats::pairwise::{credit, pairs};
use moreline_stats::{Bootstrap, Result, mcnemar};
use serde::Serialize;

use super::artifacts;
use super::input::{ReportInput, ReportStage};

/// Most evaluations that are compared with each other: a comparison is made of every two.
const MOST: usize = 16;

/// What all sets together are called.
const ALL_SETS: &str = "all sets";

/// Two evaluations of the same records. Of a set that both evaluated, or of all of these.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Comparison {
    /// The first stage.
    pub a: String,
    /// The second stage.
    pub b: String,
    /// The set.
    pub set: String,
    /// Pairs of different scores.
    pub pairs: usize,
    /// Accuracy of the first, equal rewards counting a half.
    pub accuracy_a: f64,
    /// Accuracy of the second.
    pub accuracy_b: f64,
    /// The first less the second.
    pub difference: f64,
    /// Its 95 % interval: percentile bootstrap, 2,000 resamples of whole records.
    pub difference_low: f64,
    /// Upper bound.
    pub difference_high: f64,
    /// Pairs that only the first has right.
    pub only_a: u64,
    /// Pairs that only the second has right.
    pub only_b: u64,
    /// McNemar's exact test of these two counts, two-sided.
    pub mcnemar_p: f64,
    /// Share of pairs that both have right, wrong, or undecided.
    pub agreement: f64,
    /// Cohen's kappa of that; absent where it is not defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kappa: Option<f64>,
}

/// The records of every evaluation that has some.
#[derive(Debug, Default)]
pub(super) struct Evaluations {
    /// Stage, set, records in order.
    records: Vec<(String, BTreeMap<String, Vec<EvaluationRow>>)>,
    /// All comparisons, in the order of the stages.
    pub comparisons: Vec<Comparison>,
    /// Stages that were left out of the comparisons for their number.
    pub left_out: usize,
    /// What to say of records that could not be read.
    pub unread: Vec<String>,
}

impl Evaluations {
    /// Reads the records and compares what can be compared.
    pub(super) fn read(input: &ReportInput) -> Self {
        let stages = input.stages.iter();
        let stages: Vec<&ReportStage> = stages
            .filter(|s| s.kind() == StageKind::EvaluateReward && s.state.has_results())
            .collect();
        let mut found = Self {
            left_out: stages.len().saturating_sub(MOST),
            ..Self::default()
        };
        for stage in stages.iter().take(MOST) {
            let rows = artifacts::rows::<EvaluationRow>(stage, RECORDS);
            let rows = rows.unwrap_or_else(|sentence| {
                found.unread.push(sentence);
                Vec::new()
            });
            let mut sets: BTreeMap<String, Vec<EvaluationRow>> = BTreeMap::new();
            for row in rows {
                sets.entry(row.set.clone()).or_default().push(row);
            }
            found.records.push((stage.name.clone(), sets));
        }
        for (i, a) in stages.iter().take(MOST).enumerate() {
            for (j, b) in stages.iter().enumerate().take(MOST).skip(i + 1) {
                found.compare((i, a), (j, b));
            }
        }
        found
    }

    /// The margins of a stage on a set; empty if its records are not there.
    pub(super) fn margins(&self, stage: &str, set: &str) -> Vec<f64> {
        let of = self.records.iter().find(|(name, _)| name == stage);
        let rows = of.and_then(|(_, sets)| sets.get(set));
        let rows = rows.into_iter().flatten();
        rows.flat_map(|row| margins(row).unwrap_or_default())
            .collect()
    }

    fn compare(&mut self, (i, a): (usize, &ReportStage), (j, b): (usize, &ReportStage)) {
        let (mut shared, mut all) = (Vec::new(), (Vec::new(), Vec::new()));
        for set in a.sets() {
            let same_data = a.data_of(&set).is_some() && a.data_of(&set) == b.data_of(&set);
            let (first, second) = (&self.records[i].1, &self.records[j].1);
            if let (true, Some(first), Some(second)) =
                (same_data, first.get(&set), second.get(&set))
                && let Some(both) = both(first, second)
            {
                all.0.extend(both.0.iter().cloned());
                all.1.extend(both.1.iter().cloned());
                shared.push((set, both));
            }
        }
        if shared.len() > 1 {
            shared.push((ALL_SETS.to_owned(), all));
        }
        let compared = shared
            .iter()
            .filter_map(|(set, (first, second))| comparison((a, b), set, first, second).ok());
        self.comparisons.extend(compared);
    }
}

/// The margins of a record's pairs.
fn margins(row: &EvaluationRow) -> Result<Vec<f64>> {
    let found = pairs(&row.scores, &row.rewards)?;
    Ok(found.decided.iter().map(|pair| pair.margin).collect())
}

/// Margins of both, record by record, if the records are the same.
type Both = (Vec<Vec<f64>>, Vec<Vec<f64>>);

fn both(first: &[EvaluationRow], second: &[EvaluationRow]) -> Option<Both> {
    let same = |(a, b): (&EvaluationRow, &EvaluationRow)| (a.row, &a.scores) == (b.row, &b.scores);
    if first.len() != second.len() || !first.iter().zip(second).all(same) {
        return None;
    }
    let all = |rows: &[EvaluationRow]| rows.iter().map(margins).collect::<Result<Vec<_>>>().ok();
    Some((all(first)?, all(second)?))
}

fn comparison(
    (a, b): (&ReportStage, &ReportStage),
    set: &str,
    first: &[Vec<f64>],
    second: &[Vec<f64>],
) -> Result<Comparison> {
    let credits = |margins: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let one = |record: &Vec<f64>| record.iter().map(|m| credit(*m)).collect();
        margins.iter().map(one).collect()
    };
    let (credit_a, credit_b) = (credits(first), credits(second));
    let found = Bootstrap::default().clustered_difference(&credit_a, &credit_b)?;
    let right = |margins: &[Vec<f64>]| -> Vec<bool> {
        margins
            .iter()
            .flatten()
            .map(|margin| *margin > 0.0)
            .collect()
    };
    let test = mcnemar::compare(&right(first), &right(second))?;
    let verdicts = |margins: &[Vec<f64>]| -> Vec<Ordering> {
        let verdict = |margin: &f64| margin.partial_cmp(&0.0).unwrap_or(Ordering::Equal);
        margins.iter().flatten().map(verdict).collect()
    };
    let agreement = agreement(&verdicts(first), &verdicts(second))?;
    let pairs = credit_a.iter().map(Vec::len).sum();
    let accuracy = |credits: &[Vec<f64>]| credits.iter().flatten().sum::<f64>() / pairs as f64;
    Ok(Comparison {
        a: a.name.clone(),
        b: b.name.clone(),
        set: set.to_owned(),
        pairs,
        accuracy_a: accuracy(&credit_a),
        accuracy_b: accuracy(&credit_b),
        difference: found.difference.estimate,
        difference_low: found.difference.lower,
        difference_high: found.difference.upper,
        only_a: test.only_first,
        only_b: test.only_second,
        mcnemar_p: test.p_value,
        agreement: agreement.share,
        kappa: agreement.kappa,
    })
}
