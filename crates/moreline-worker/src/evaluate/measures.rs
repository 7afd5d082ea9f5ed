//! Figures of a reward model on one preference set.

use moreline_protocol::rows::EvaluationRow;
use moreline_protocol::spec::EvaluateReward;
use moreline_stats::calibration::{Confidence, brier, margin_nll};
use moreline_stats::{Bootstrap, correlation, describe};
use serde_json::{Map, Value, json};

use super::columns::Columns;
use super::{calibrated, lengths, several};
use crate::error::WorkerError;

/// The metrics of some records, of the set or sets called `what`; see `docs/evaluation.md`.
///
/// # Errors
/// A figure that is not defined for these records: no pair of different scores.
pub(super) fn of_set(
    what: &str,
    records: &[&EvaluationRow],
    spec: &EvaluateReward,
) -> Result<Value, WorkerError> {
    figures(records, spec).map_err(|e| {
        WorkerError::input(
            format!("evaluate on `{what}`: {e}"),
            "give it more rows whose responses differ in score",
        )
    })
}

fn figures(records: &[&EvaluationRow], spec: &EvaluateReward) -> moreline_stats::Result<Value> {
    let columns = Columns::new(records);
    let (margins, correct) = (&columns.margins, &columns.correct);
    let bootstrap = Bootstrap {
        replicates: spec.resamples as usize,
        level: 0.95,
        seed: spec.seed,
    };
    let accuracy = bootstrap.mean(correct)?;
    let (by_bins, main) = calibrated::all_bins(margins, spec)?;
    let confidence = Confidence::of_margins(margins)?;
    let (rewards, tokens) = responses(records);
    let mut found = json!({
        "rows": records.len(),
        "pairs": margins.len(),
        "accuracy": accuracy.estimate,
        "accuracy_low": accuracy.lower,
        "accuracy_high": accuracy.upper,
        "ece": main.ece,
        "ace": main.ace,
        "mce": main.mce,
        "brier": brier(&confidence.confidence, &confidence.correct)?,
        "nll": margin_nll(margins, 1.0)?,
        "mean_margin": describe::mean(margins)?,
        "mean_reward": describe::mean(&rewards)?,
        "reliability": calibrated::curve(&main)?,
        "calibration": by_bins,
        "temperature": calibrated::temperature(&columns, records.len(), spec),
        "margins": margin_distribution(margins)?,
        "length": lengths::bias(&columns, (&rewards, &tokens), &bootstrap)?,
    });
    let Value::Object(values) = &mut found else {
        return Ok(found);
    };
    ties(&columns, values);
    // Not defined where all texts are equally long.
    if let Ok(value) = correlation::pearson(&rewards, &tokens) {
        values.insert("length_correlation".into(), value.into());
    }
    if let Ok(value) = describe::standard_deviation(&rewards) {
        values.insert("reward_sd".into(), value.into());
    }
    several::add(records, values)?;
    Ok(found)
}

/// Rewards and tokens of all responses.
fn responses(records: &[&EvaluationRow]) -> (Vec<f64>, Vec<f64>) {
    let rewards = records.iter().flat_map(|r| r.rewards.iter().copied());
    let tokens = records
        .iter()
        .flat_map(|r| r.tokens.iter().map(|&n| n as f64));
    (rewards.collect(), tokens.collect())
}

/// Pairs that the data or the model leave undecided, and accuracies that treat them otherwise
/// than `accuracy` does, which leaves out the data's and counts the model's as half right.
fn ties(columns: &Columns, values: &mut Map<String, Value>) {
    let (pairs, ties) = (columns.margins.len(), columns.ties);
    let even = columns.margins.iter().filter(|m| **m == 0.0).count();
    let credit: f64 = columns.correct.iter().sum();
    values.insert("ties_skipped".into(), ties.into());
    values.insert("reward_ties".into(), even.into());
    if pairs > even {
        let decided = (credit - 0.5 * even as f64) / (pairs - even) as f64;
        values.insert("accuracy_decided".into(), decided.into());
    }
    let half = (credit + 0.5 * ties as f64) / (pairs + ties) as f64;
    values.insert("accuracy_ties_half".into(), half.into());
}

fn margin_distribution(margins: &[f64]) -> moreline_stats::Result<Value> {
    const NAMES: [&str; 7] = ["min", "p5", "p25", "median", "p75", "p95", "max"];
    let found = describe::quantiles(margins, &[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])?;
    let named = NAMES.iter().zip(found);
    let mut values: Map<String, Value> = named
        .map(|(name, q)| ((*name).to_owned(), q.into()))
        .collect();
    if let Ok(sd) = describe::standard_deviation(margins) {
        values.insert("sd".into(), sd.into());
    }
    Ok(values.into())
}

/// The plain mean over sets of the figures one compares.
pub(super) fn mean_over(sets: &Map<String, Value>) -> Value {
    let mean = |key: &str| {
        let found: Vec<f64> = sets.values().filter_map(|set| set[key].as_f64()).collect();
        found.iter().sum::<f64>() / found.len().max(1) as f64
    };
    let keys = ["accuracy", "ece", "ace", "mce", "brier", "nll"];
    keys.into_iter()
        .map(|key| (key.to_owned(), json!(mean(key))))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
#[path = "measures_tests.rs"]
mod tests;
