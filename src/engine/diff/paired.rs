//! Differences of two stages over the same records, with their intervals.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use moreline_protocol::artifact::{RECORDS, VERDICTS};
use moreline_protocol::rows::{EvaluationRow, Verdict, VerdictRow};
use moreline_stats::pairwise::{credit, pairs};
use moreline_stats::{Bootstrap, Interval};
use serde::de::DeserializeOwned;

use super::side::{Side, SideStage};

/// Most bytes of records read.
const MAX_BYTES: u64 = 256 << 20;

/// The rows of an output of a stage, if all of them are there.
fn rows<T: DeserializeOwned>((side, stage): (&Side, &SideStage), output: &str) -> Option<Vec<T>> {
    let digest = stage.outputs.as_ref()?.get(output)?.digest;
    let file = File::open(side.store.object_file(&digest)?).ok()?;
    if file.metadata().ok()?.len() > MAX_BYTES {
        return None;
    }
    let lines = BufReader::new(file.take(MAX_BYTES)).lines();
    lines
        .map(|line| serde_json::from_str(&line.ok()?).ok())
        .collect()
}

/// For each set that both stages measured on the same bytes: accuracy of the
/// second minus that of the first, paired by decided pair; records are resampled whole.
pub(super) fn accuracies(
    a: (&Side, &SideStage),
    b: (&Side, &SideStage),
) -> BTreeMap<String, Interval> {
    let read = |of| rows::<EvaluationRow>(of, RECORDS);
    let (Some(old), Some(new)) = (read(a), read(b)) else {
        return BTreeMap::new();
    };
    let by_set = |rows: Vec<EvaluationRow>| {
        let mut sets: BTreeMap<String, Vec<EvaluationRow>> = BTreeMap::new();
        for row in rows {
            sets.entry(row.set.clone()).or_default().push(row);
        }
        sets
    };
    let old = by_set(old);
    let mut found = BTreeMap::new();
    for (set, new) in by_set(new) {
        if let Some(old) = old.get(&set)
            && same_data(a.1, b.1, &set)
            && let Some(interval) = accuracy(old, &new)
        {
            found.insert(set, interval);
        }
    }
    found
}

/// Whether both stages take the same rows of a set.
fn same_data(a: &SideStage, b: &SideStage, set: &str) -> bool {
    let of = |stage: &SideStage| {
        let mut inputs = stage.version.inputs.iter();
        let input = inputs.find(|input| input.role == "data" && input.name == set)?;
        Some((input.digest?, input.rows))
    };
    of(a).is_some() && of(a) == of(b)
}

fn accuracy(old: &[EvaluationRow], new: &[EvaluationRow]) -> Option<Interval> {
    let same = |(a, b): (&EvaluationRow, &EvaluationRow)| {
        (a.row, &a.scores, a.rewards.len()) == (b.row, &b.scores, b.rewards.len())
    };
    if old.len() != new.len() || !old.iter().zip(new).all(same) {
        return None;
    }
    let correct = |rows: &[EvaluationRow]| rows.iter().map(credits).collect::<Option<Vec<_>>>();
    let found = Bootstrap::default().clustered_difference(&correct(new)?, &correct(old)?);
    Some(found.ok()?.difference)
}

/// For each pair of responses of different scores 1 if the better one has the
/// higher reward, a half for equal rewards: what `evaluate-reward` averages.
fn credits(row: &EvaluationRow) -> Option<Vec<f64>> {
    let found = pairs(&row.scores, &row.rewards).ok()?.decided;
    Some(found.iter().map(|pair| credit(pair.margin)).collect())
}

/// Win rate of the second minus that of the first, paired by prompt, where both
/// read a verdict on every prompt.
pub(super) fn win_rate(a: (&Side, &SideStage), b: (&Side, &SideStage)) -> Option<Interval> {
    let read = |of| rows::<VerdictRow>(of, VERDICTS);
    let (old, new) = (read(a)?, read(b)?);
    let same = |(a, b): (&VerdictRow, &VerdictRow)| (a.id, &a.prompt) == (b.id, &b.prompt);
    if old.len() != new.len() || !old.iter().zip(&new).all(same) {
        return None;
    }
    let points = |rows: &[VerdictRow]| rows.iter().map(|row| point(row.verdict)).collect();
    let (old, new): (Option<Vec<f64>>, Option<Vec<f64>>) = (points(&old), points(&new));
    difference(&old?, &new?)
}

fn point(verdict: Verdict) -> Option<f64> {
    match verdict {
        Verdict::Win => Some(1.0),
        Verdict::Tie => Some(0.5),
        Verdict::Loss => Some(0.0),
        Verdict::Unparsed => None,
    }
}

/// At 95 %, by 2,000 resamples of the records.
fn difference(old: &[f64], new: &[f64]) -> Option<Interval> {
    let found = Bootstrap::default().paired_difference(new, old).ok()?;
    Some(found.difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(row: u64, rewards: [f64; 3]) -> EvaluationRow {
        EvaluationRow {
            set: "s".into(),
            row,
            scores: vec![1.0, 0.0, 0.0],
            rewards: rewards.to_vec(),
            tokens: vec![1, 1, 1],
            ..EvaluationRow::default()
        }
    }

    #[test]
    fn pairs_are_counted_as_the_worker_counts_them() {
        assert_eq!(credits(&row(0, [1.0, 0.0, 1.0])), Some(vec![1.0, 0.5]));
        assert_eq!(credits(&row(0, [-1.0, 0.0, -2.0])), Some(vec![0.0, 1.0]));
        assert_eq!(credits(&row(0, [f64::NAN, 0.0, 0.0])), None);
    }

    #[test]
    fn only_the_same_records_are_paired() {
        let right = |n: u64| row(n, [1.0, 0.0, 0.0]);
        let wrong = |n: u64| row(n, [-1.0, 0.0, 0.0]);
        let old: Vec<_> = (0..40)
            .map(|n| if n % 2 == 0 { right(n) } else { wrong(n) })
            .collect();
        let new: Vec<_> = (0..40).map(right).collect();
        let found = accuracy(&old, &new).unwrap();
        assert_eq!(found.estimate, 0.5);
        assert!(0.25 < found.lower && found.upper < 0.75, "{found:?}");
        assert_eq!(accuracy(&old, &new[..39]), None);
        let mut other = new.clone();
        other[3].row = 7;
        assert_eq!(accuracy(&old, &other), None);
    }
}
