//! Means, spreads, quantiles and histograms.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite};

/// The arithmetic mean of at least one value.
pub fn mean(values: &[f64]) -> Result<f64> {
    check_finite("a mean", values, 1)?;
    Ok(raw_mean(values))
}

/// The sample standard deviation (divisor n - 1) of at least two values.
pub fn standard_deviation(values: &[f64]) -> Result<f64> {
    check_finite("a standard deviation", values, 2)?;
    let mean = raw_mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Ok((squares / (values.len() - 1) as f64).sqrt())
}

/// The standard error of the mean: the standard deviation over the root of n.
pub fn standard_error(values: &[f64]) -> Result<f64> {
    Ok(standard_deviation(values)? / (values.len() as f64).sqrt())
}

/// The quantile at `q` in [0, 1], interpolated linearly between order statistics
/// (Hyndman and Fan 1996, type 7: NumPy's and R's default).
pub fn quantile(values: &[f64], q: f64) -> Result<f64> {
    Ok(quantiles(values, &[q])?[0])
}

/// Several quantiles of the same values; see [`quantile`].
pub fn quantiles(values: &[f64], qs: &[f64]) -> Result<Vec<f64>> {
    check_finite("quantiles", values, 1)?;
    if let Some(index) = qs.iter().position(|q| !(0.0..=1.0).contains(q)) {
        let (value, range) = (qs[index], "[0, 1]");
        return Err(Error::OutOfRange {
            what: "quantile levels",
            index,
            value,
            range,
        });
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(qs.iter().map(|&q| sorted_quantile(&sorted, q)).collect())
}

/// Counts of values between fixed edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Edges of the bins, rising; bin `i` is `[edges[i], edges[i + 1])`, the last one closed.
    pub edges: Vec<f64>,
    /// Values in each bin.
    pub counts: Vec<u64>,
    /// Values under the first edge.
    pub below: u64,
    /// Values over the last edge.
    pub above: u64,
}

/// Counts `values` between `edges` (at least two, strictly rising). No values give zero counts.
pub fn histogram(values: &[f64], edges: &[f64]) -> Result<Histogram> {
    check_finite("histogram edges", edges, 2)?;
    check_finite("a histogram", values, 0)?;
    if let Some(index) = edges.windows(2).position(|pair| pair[0] >= pair[1]) {
        let (value, range) = (edges[index + 1], "strictly rising order");
        return Err(Error::OutOfRange {
            what: "histogram edges",
            index: index + 1,
            value,
            range,
        });
    }
    let last = edges.len() - 1;
    let mut histogram = Histogram {
        edges: edges.to_vec(),
        counts: vec![0; last],
        below: 0,
        above: 0,
    };
    for &value in values {
        if value < edges[0] {
            histogram.below += 1;
        } else if value > edges[last] {
            histogram.above += 1;
        } else {
            let bin = edges.partition_point(|&edge| edge <= value).min(last) - 1;
            histogram.counts[bin] += 1;
        }
    }
    Ok(histogram)
}

/// The mean of values known to be finite and not empty.
pub(crate) fn raw_mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The type 7 quantile of sorted, finite, non-empty values.
pub(crate) fn sorted_quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    match sorted.get(below + 1) {
        Some(above) => sorted[below] + (above - sorted[below]) * (position - below as f64),
        None => sorted[sorted.len() - 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_known_sample() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&values).unwrap(), 5.0);
        assert!((standard_deviation(&values).unwrap() - (32f64 / 7.0).sqrt()).abs() < 1e-15);
        assert!((standard_error(&values).unwrap() - (4f64 / 7.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn quantiles_interpolate_like_numpy() {
        let values = [4.0, 1.0, 3.0, 2.0];
        let found = quantiles(&values, &[0.0, 0.25, 0.5, 0.9, 1.0]).unwrap();
        for (found, wanted) in found.iter().zip([1.0, 1.75, 2.5, 3.7, 4.0]) {
            assert!((found - wanted).abs() < 1e-12);
        }
        assert_eq!(quantile(&[7.0], 0.3).unwrap(), 7.0);
    }

    #[test]
    fn undefined_is_an_error() {
        assert_eq!(
            mean(&[]),
            Err(Error::TooFew {
                what: "a mean",
                needed: 1,
                got: 0
            })
        );
        assert_eq!(
            mean(&[1.0, f64::NAN]),
            Err(Error::NotFinite {
                what: "a mean",
                index: 1
            })
        );
        assert!(standard_deviation(&[1.0]).is_err());
        assert!(quantile(&[], 0.5).is_err());
        assert!(quantile(&[1.0], f64::NAN).is_err());
    }

    #[test]
    fn histogram_closes_its_last_bin() {
        let found = histogram(&[-1.0, 0.0, 0.5, 1.0, 2.0, 2.1], &[0.0, 1.0, 2.0]).unwrap();
        assert_eq!((found.counts, found.below, found.above), (vec![2, 2], 1, 1));
        assert!(histogram(&[1.0], &[0.0, 0.0]).is_err());
        assert!(histogram(&[f64::NAN], &[0.0, 1.0]).is_err());
    }
}
