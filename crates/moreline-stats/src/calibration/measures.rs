//! Expected, average and maximum calibration error.

use serde::{Deserialize, Serialize};

use super::bins::{Binning, ReliabilityBin, reliability};
use crate::error::Result;

/// A reliability curve and the three errors read off it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: the gaps weighted by the bins' counts
    /// (Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning").
    pub ece: f64,
    /// Average calibration error: the plain mean of the gaps of the bins that are not empty.
    pub ace: f64,
    /// Maximum calibration error: the largest gap.
    pub mce: f64,
    /// How the bins were cut.
    pub binning: Binning,
    /// The curve, empty bins included.
    pub curve: Vec<ReliabilityBin>,
}

/// Bins the predictions (see [`reliability`]) and measures the gaps
/// `|accuracy - mean confidence|`. Agrees with the published MORE functions.
pub fn calibration(
    probabilities: &[f64],
    labels: &[f64],
    bins: usize,
    binning: Binning,
) -> Result<Calibration> {
    let curve = reliability(probabilities, labels, bins, binning)?;
    let gaps: Vec<(f64, f64)> = curve
        .iter()
        .filter_map(|bin| Some((bin.count as f64, bin.gap()?)))
        .collect();
    Ok(Calibration {
        ece: gaps.iter().map(|(count, gap)| count * gap).sum::<f64>() / labels.len() as f64,
        ace: gaps.iter().map(|(_, gap)| gap).sum::<f64>() / gaps.len() as f64,
        mce: gaps.iter().map(|(_, gap)| *gap).fold(0.0, f64::max),
        binning,
        curve,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        calibration: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        prob: Vec<f64>,
        label: Vec<f64>,
        bins: BTreeMap<String, [f64; 3]>,
    }

    #[test]
    fn agrees_with_the_published_functions() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/calibration.json"
        ));
        let golden: Golden = serde_json::from_str(text).unwrap();
        assert_eq!(golden.calibration.len(), 12);
        for case in &golden.calibration {
            assert_eq!(case.bins.len(), 6);
            for (name, wanted) in &case.bins {
                let (binning, bins) = match name.split_once('-').unwrap() {
                    ("uniform", bins) => (Binning::Uniform, bins),
                    (_, bins) => (Binning::Quantile, bins),
                };
                let bins = bins.parse().unwrap();
                let found = calibration(&case.prob, &case.label, bins, binning).unwrap();
                for (found, wanted) in [found.ece, found.ace, found.mce].iter().zip(wanted) {
                    assert!((found - wanted).abs() < 1e-9, "{name}: {found} {wanted}");
                }
            }
        }
    }

    #[test]
    fn perfect_calibration_has_no_error_and_nothing_is_an_error() {
        let found = calibration(&[0.25; 4], &[0.0, 0.0, 1.0, 0.0], 10, Binning::Uniform).unwrap();
        assert_eq!((found.ece, found.ace, found.mce), (0.0, 0.0, 0.0));
        assert!(calibration(&[], &[], 10, Binning::Uniform).is_err());
    }
}
