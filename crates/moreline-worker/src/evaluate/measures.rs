//! Figures of a reward model on one preference set.

use moreline_protocol::rows::EvaluationRow;
use moreline_protocol::spec::EvaluateReward;
use moreline_stats::calibration::{
    Binning, Confidence, ReliabilityBin, brier, calibration, margin_nll,
};
use moreline_stats::{Bootstrap, correlation};
use serde_json::{Map, Value, json};

use crate::error::WorkerError;

/// Decided pairs: the better response against the worse.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Reward of the better minus that of the worse.
    pub margins: Vec<f64>,
    /// Pairs of equal scores, which are not compared.
    pub ties: usize,
}

impl Compared {
    /// Adds every pair of a row's responses.
    pub(crate) fn add(&mut self, scores: &[f64], rewards: &[f64]) {
        for i in 0..scores.len() {
            for j in i + 1..scores.len() {
                let (better, worse) = match scores[i].total_cmp(&scores[j]) {
                    std::cmp::Ordering::Equal => {
                        self.ties += 1;
                        continue;
                    }
                    std::cmp::Ordering::Greater => (i, j),
                    std::cmp::Ordering::Less => (j, i),
                };
                self.margins.push(rewards[better] - rewards[worse]);
            }
        }
    }

    /// For each pair 1 if the better response has the higher reward, a half for
    /// equal rewards.
    pub(crate) fn correct(&self) -> Vec<f64> {
        let one = |&margin: &f64| {
            if margin > 0.0 {
                1.0
            } else if margin == 0.0 {
                0.5
            } else {
                0.0
            }
        };
        self.margins.iter().map(one).collect()
    }

    /// Loss, accuracy, mean margin and ECE (of `bins` equal bins), as in the
    /// metrics of an `evaluate-reward` stage.
    ///
    /// # Errors
    /// No pair at all.
    pub(crate) fn figures(&self, bins: usize) -> moreline_stats::Result<[(&'static str, f64); 4]> {
        let confidence = Confidence::of_margins(&self.margins)?;
        let (share, correct) = (&confidence.confidence, &confidence.correct);
        let found = calibration(share, correct, bins, Binning::Uniform)?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        Ok([
            ("loss", margin_nll(&self.margins, 1.0)?),
            ("accuracy", mean(&self.correct())),
            ("margin", mean(&self.margins)),
            ("ece", found.ece),
        ])
    }
}

/// The metrics of a set: accuracy with its bootstrap interval, calibration of
/// the confidence sigmoid(|margin|), and what the rewards look like.
///
/// # Errors
/// A figure that is not defined for these records.
pub(super) fn of_set(
    records: &[&EvaluationRow],
    spec: &EvaluateReward,
) -> Result<Value, WorkerError> {
    let mut compared = Compared::default();
    for record in records {
        compared.add(&record.scores, &record.rewards);
    }
    let undefined = |e: moreline_stats::Error| {
        let set = records.first().map_or("", |record| record.set.as_str());
        WorkerError::input(
            format!("evaluate on `{set}`: {e}"),
            "give it more rows whose responses differ in score",
        )
    };
    let (correct, margins) = (compared.correct(), &compared.margins);
    let bootstrap = Bootstrap {
        replicates: spec.resamples as usize,
        level: 0.95,
        seed: spec.seed,
    };
    let accuracy = bootstrap.mean(&correct).map_err(undefined)?;
    let confidence = Confidence::of_margins(margins).map_err(undefined)?;
    let bins = spec.bins as usize;
    let found = calibration(
        &confidence.confidence,
        &confidence.correct,
        bins,
        Binning::Uniform,
    )
    .map_err(undefined)?;
    let nll = margin_nll(margins, 1.0).map_err(undefined)?;
    let brier = brier(&confidence.confidence, &confidence.correct).map_err(undefined)?;
    let rewards: Vec<f64> = records
        .iter()
        .flat_map(|r| r.rewards.iter().copied())
        .collect();
    let tokens: Vec<f64> = records
        .iter()
        .flat_map(|r| r.tokens.iter().map(|&n| n as f64))
        .collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let mut found = json!({
        "rows": records.len(),
        "pairs": margins.len(),
        "ties_skipped": compared.ties,
        "accuracy": accuracy.estimate,
        "accuracy_low": accuracy.lower,
        "accuracy_high": accuracy.upper,
        "ece": found.ece,
        "ace": found.ace,
        "mce": found.mce,
        "brier": brier,
        "nll": nll,
        "mean_margin": mean(margins),
        "mean_reward": mean(&rewards),
        "reliability": found.curve.iter().map(bin).collect::<Vec<_>>(),
    });
    // Not defined where all texts are equally long.
    if let Ok(correlation) = correlation::pearson(&rewards, &tokens) {
        found["length_correlation"] = correlation.into();
    }
    Ok(found)
}

fn bin(bin: &ReliabilityBin) -> Value {
    json!({
        "lower": bin.lower,
        "upper": bin.upper,
        "count": bin.count,
        "confidence": bin.mean_confidence,
        "accuracy": bin.accuracy,
    })
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
mod tests {
    use super::*;

    fn spec() -> EvaluateReward {
        serde_json::from_value(json!({"model": "rm", "data": "d", "bins": 10})).unwrap()
    }

    fn record(scores: &[f64], rewards: &[f64]) -> EvaluationRow {
        EvaluationRow {
            set: "d".into(),
            row: 0,
            scores: scores.to_vec(),
            rewards: rewards.to_vec(),
            tokens: vec![3; scores.len()],
        }
    }

    #[test]
    fn figures_by_hand() {
        // Margins 2 (right) and -1 (wrong); the tie is counted, not judged.
        let rows = [
            record(&[1.0, 0.0], &[2.0, 0.0]),
            record(&[-3.0, -1.0], &[1.0, 0.0]),
            record(&[5.0, 5.0], &[1.0, 0.0]),
        ];
        let found = of_set(&rows.iter().collect::<Vec<_>>(), &spec()).unwrap();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert_eq!(found["pairs"], 2);
        assert_eq!(found["ties_skipped"], 1);
        assert_eq!(found["accuracy"], 0.5);
        let nll = -(sigmoid(2.0).ln() + sigmoid(-1.0).ln()) / 2.0;
        assert!((found["nll"].as_f64().unwrap() - nll).abs() < 1e-12);
        // Confidences .88 (right) and .73 (wrong) lie in bins of their own.
        let ece = ((1.0 - sigmoid(2.0)) + sigmoid(1.0)) / 2.0;
        assert!((found["ece"].as_f64().unwrap() - ece).abs() < 1e-12);
        assert_eq!(found["mean_margin"], 0.5);
    }

    #[test]
    fn a_set_of_ties_is_an_error_not_a_zero() {
        let rows = [record(&[5.0, 5.0], &[1.0, 0.0])];
        assert!(of_set(&rows.iter().collect::<Vec<_>>(), &spec()).is_err());
    }
}
