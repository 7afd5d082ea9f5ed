//! Bins of a reliability curve.

use serde::{Deserialize, Serialize};

use crate::describe::{quantiles, raw_mean};
use crate::error::{Result, check_count, check_parallel, check_unit};

/// Where the edges of the bins lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binning {
    /// Equal widths over [0, 1].
    Uniform,
    /// Quantiles of the probabilities (linear interpolation), so equal counts but for ties.
    Quantile,
}

/// One point of a reliability curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower edge, outside the bin except for the first bin.
    pub lower: f64,
    /// Upper edge, inside the bin.
    pub upper: f64,
    /// Number of predictions.
    pub count: usize,
    /// Mean predicted probability; `None` in an empty bin.
    pub mean_confidence: Option<f64>,
    /// Mean label; `None` in an empty bin.
    pub accuracy: Option<f64>,
}

impl ReliabilityBin {
    /// `|accuracy - mean confidence|`; `None` in an empty bin.
    pub fn gap(&self) -> Option<f64> {
        Some((self.accuracy? - self.mean_confidence?).abs())
    }
}

/// The `bins + 1` edges for probabilities in [0, 1]: at least one probability and one bin.
pub fn edges(probabilities: &[f64], bins: usize, binning: Binning) -> Result<Vec<f64>> {
    check_unit("probabilities", probabilities)?;
    check_count("calibration bins", bins, 1)?;
    let shares: Vec<f64> = (0..=bins).map(|i| i as f64 / bins as f64).collect();
    match binning {
        Binning::Uniform => Ok(shares),
        Binning::Quantile => quantiles(probabilities, &shares),
    }
}

/// The reliability curve: a bin per pair of neighbouring edges, empty ones included.
///
/// A probability belongs to the bin whose index is the number of *inner* edges strictly
/// below it, that is to (lower, upper]. `labels` are 1 for positive and 0 for negative;
/// anything between counts in part (a tie as 1/2).
pub fn reliability(
    probabilities: &[f64],
    labels: &[f64],
    bins: usize,
    binning: Binning,
) -> Result<Vec<ReliabilityBin>> {
    check_parallel(
        ("probabilities", probabilities.len()),
        ("labels", labels.len()),
    )?;
    check_unit("labels", labels)?;
    let edges = edges(probabilities, bins, binning)?;
    let mut members = vec![(Vec::new(), Vec::new()); bins];
    for (&probability, &label) in probabilities.iter().zip(labels) {
        let bin = edges[1..bins].partition_point(|&edge| edge < probability);
        members[bin].0.push(probability);
        members[bin].1.push(label);
    }
    let bin = |(i, (probabilities, labels)): (usize, &(Vec<f64>, Vec<f64>))| ReliabilityBin {
        lower: edges[i],
        upper: edges[i + 1],
        count: labels.len(),
        mean_confidence: (!probabilities.is_empty()).then(|| raw_mean(probabilities)),
        accuracy: (!labels.is_empty()).then(|| raw_mean(labels)),
    };
    Ok(members.iter().enumerate().map(bin).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_bin_below_it() {
        let probabilities = [0.0, 0.5, 0.500001, 1.0];
        let curve =
            reliability(&probabilities, &[0.0, 1.0, 1.0, 1.0], 2, Binning::Uniform).unwrap();
        assert_eq!((curve[0].count, curve[1].count), (2, 2));
        assert_eq!((curve[0].lower, curve[0].upper), (0.0, 0.5));
        assert_eq!(curve[0].accuracy, Some(0.5));
        assert_eq!(curve[0].mean_confidence, Some(0.25));
        assert_eq!(curve[0].gap(), Some(0.25));
    }

    #[test]
    fn empty_bins_have_no_accuracy() {
        let curve = reliability(&[0.9], &[1.0], 5, Binning::Uniform).unwrap();
        assert_eq!(
            curve.iter().map(|bin| bin.count).collect::<Vec<_>>(),
            [0, 0, 0, 0, 1]
        );
        assert_eq!((curve[0].accuracy, curve[0].gap()), (None, None));
    }

    #[test]
    fn equal_probabilities_share_a_quantile_bin() {
        let curve = reliability(&[0.3; 6], &[1.0; 6], 4, Binning::Quantile).unwrap();
        assert_eq!(
            curve.iter().map(|bin| bin.count).collect::<Vec<_>>(),
            [6, 0, 0, 0]
        );
    }

    #[test]
    fn bad_input_is_an_error() {
        let curve = |p: &[f64], y: &[f64], n| reliability(p, y, n, Binning::Uniform);
        assert!(curve(&[], &[], 5).is_err());
        assert!(curve(&[0.5], &[1.0], 0).is_err());
        assert!(curve(&[1.1], &[1.0], 5).is_err());
        assert!(curve(&[f64::NAN], &[1.0], 5).is_err());
        assert!(curve(&[0.5], &[2.0], 5).is_err());
        assert!(curve(&[0.5], &[1.0, 0.0], 5).is_err());
    }
}
