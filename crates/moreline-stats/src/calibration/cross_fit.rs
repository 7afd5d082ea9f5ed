//! Temperature scaling fitted on one half of the records and measured on the other.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::bins::Binning;
use super::confidence::Confidence;
use super::measures::calibration;
use super::scores::margin_nll;
use super::temperature::fit_temperature;
use crate::error::{Result, check_parallel};

/// One half, scaled by the temperature that the other half asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Fitted on the other half.
    pub temperature: f64,
    /// Pairs it was fitted on.
    pub fitted_pairs: usize,
    /// Pairs of this half.
    pub pairs: usize,
    /// What scaling does to this half.
    pub change: Change,
}

/// Scores of margins as they are and divided by a temperature they had no part in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Negative log-likelihood (nats) of the margins as they are.
    pub nll_before: f64,
    /// The same once scaled.
    pub nll_after: f64,
    /// Expected calibration error (confidence view, equal bins) as they are.
    pub ece_before: f64,
    /// The same once scaled.
    pub ece_after: f64,
}

/// Both halves, and all pairs together, each scaled by the other half's temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CrossFit {
    /// The half of the records marked true, then the other.
    pub halves: [HeldOut; 2],
    /// All pairs: none was scaled by a temperature it helped to fit.
    pub overall: Change,
}

/// Splits records in halves, true for the first: the records with the smaller draws of a
/// ChaCha8 stream, one draw a record. An odd record goes to the first half.
pub fn halves(records: usize, seed: u64) -> Vec<bool> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draws: Vec<(u64, usize)> = (0..records).map(|i| (rng.random(), i)).collect();
    draws.sort_unstable();
    let mut first = vec![false; records];
    for (_, record) in draws.into_iter().take(records.div_ceil(2)) {
        first[record] = true;
    }
    first
}

/// Fits a temperature on each half of the pairs (see [`fit_temperature`]) and measures it on
/// the other. `first` says to which half a pair belongs; pairs of one record belong together.
///
/// # Errors
/// A half without a temperature: empty, all margins of the right sign, or worse than chance.
pub fn cross_fit_temperature(margins: &[f64], first: &[bool], bins: usize) -> Result<CrossFit> {
    check_parallel(("margins", margins.len()), ("halves", first.len()))?;
    let half = |wanted: bool| -> Vec<f64> {
        let pairs = margins.iter().zip(first);
        let own = pairs.filter(|(_, first)| **first == wanted);
        own.map(|(margin, _)| *margin).collect()
    };
    let (one, other) = (half(true), half(false));
    let temperatures = [
        fit_temperature(&other)?.temperature,
        fit_temperature(&one)?.temperature,
    ];
    let held_out = |own: &[f64], others: &[f64], temperature: f64| -> Result<HeldOut> {
        Ok(HeldOut {
            temperature,
            fitted_pairs: others.len(),
            pairs: own.len(),
            change: change(own, &scaled(own, temperature), bins)?,
        })
    };
    let all = [one.as_slice(), &other].concat();
    let after = [
        scaled(&one, temperatures[0]),
        scaled(&other, temperatures[1]),
    ];
    Ok(CrossFit {
        halves: [
            held_out(&one, &other, temperatures[0])?,
            held_out(&other, &one, temperatures[1])?,
        ],
        overall: change(&all, &after.concat(), bins)?,
    })
}

fn scaled(margins: &[f64], temperature: f64) -> Vec<f64> {
    margins.iter().map(|margin| margin / temperature).collect()
}

fn change(before: &[f64], after: &[f64], bins: usize) -> Result<Change> {
    let ece = |margins: &[f64]| {
        let found = Confidence::of_margins(margins)?;
        calibration(&found.confidence, &found.correct, bins, Binning::Uniform).map(|c| c.ece)
    };
    Ok(Change {
        nll_before: margin_nll(before, 1.0)?,
        nll_after: margin_nll(after, 1.0)?,
        ece_before: ece(before)?,
        ece_after: ece(after)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logistic::sigmoid;

    #[test]
    fn halves_are_equal_seeded_and_keep_their_records() {
        let first = halves(101, 3);
        assert_eq!(first.iter().filter(|first| **first).count(), 51);
        assert_eq!(first, halves(101, 3));
        assert_ne!(first, halves(101, 4));
        assert_eq!(halves(1, 0), [true]);
        assert!(halves(0, 0).is_empty());
    }

    /// Margins of one size `m`, a share of them right, have T = m / ln(share / (1 - share)).
    fn margins(m: f64, right: usize, wrong: usize) -> Vec<f64> {
        [vec![m; right], vec![-m; wrong]].concat()
    }

    #[test]
    fn each_half_is_scaled_by_the_other_in_closed_form() {
        let (one, other) = (margins(2.0, 9, 1), margins(2.0, 3, 1));
        let first: Vec<bool> = (0..14).map(|i| i < 10).collect();
        let found = cross_fit_temperature(&[one, other].concat(), &first, 10).unwrap();
        let [a, b] = found.halves;
        assert!((a.temperature - 2.0 / 3f64.ln()).abs() < 1e-9);
        assert!((b.temperature - 2.0 / 9f64.ln()).abs() < 1e-9);
        assert_eq!((a.pairs, a.fitted_pairs, b.pairs), (10, 4, 4));
        // One bin each: confidence sigmoid(2) before, 3/4 and 9/10 after; 9/10 and 3/4 right.
        assert!((a.change.ece_before - (0.9 - sigmoid(2.0))).abs() < 1e-12);
        assert!((a.change.ece_after - 0.15).abs() < 1e-9);
        assert!((b.change.ece_after - 0.15).abs() < 1e-9);
        let nll = -(0.9 * 0.75f64.ln() + 0.1 * 0.25f64.ln());
        assert!((a.change.nll_after - nll).abs() < 1e-9);
        let overall = (10.0 * a.change.nll_after + 4.0 * b.change.nll_after) / 14.0;
        assert!((found.overall.nll_after - overall).abs() < 1e-12);
        let overall = (10.0 * a.change.nll_before + 4.0 * b.change.nll_before) / 14.0;
        assert!((found.overall.nll_before - overall).abs() < 1e-12);
    }

    #[test]
    fn a_half_without_a_temperature_is_an_error() {
        let good = margins(1.0, 3, 1);
        for bad in [vec![], margins(1.0, 2, 0), margins(1.0, 1, 2)] {
            let first: Vec<bool> = (0..good.len() + bad.len()).map(|i| i < 4).collect();
            let all = [good.clone(), bad].concat();
            assert!(cross_fit_temperature(&all, &first, 10).is_err());
        }
        assert!(cross_fit_temperature(&good, &[true], 10).is_err());
    }
}
