//! Means, spreads, quantiles and histograms.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_count, check_finite, check_parallel};

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

/// Values whose keys lie between two quantiles of all keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Lowest quantile, outside the group but for the first one.
    pub lower: f64,
    /// Highest quantile, inside the group.
    pub upper: f64,
    /// The values, in their order.
    pub values: Vec<f64>,
}

/// Parts `values` into `groups` by the quantiles (type 7) of their `keys`, 4 for quartiles.
/// Equal keys stay together, so that groups may differ in size, and be empty.
pub fn by_quantile(keys: &[f64], values: &[f64], groups: usize) -> Result<Vec<Group>> {
    check_parallel(("keys", keys.len()), ("values", values.len()))?;
    check_count("groups", groups, 1)?;
    let shares: Vec<f64> = (0..=groups).map(|i| i as f64 / groups as f64).collect();
    let edges = quantiles(keys, &shares)?;
    let mut found: Vec<Group> = edges
        .windows(2)
        .map(|edge| Group {
            lower: edge[0],
            upper: edge[1],
            values: Vec::new(),
        })
        .collect();
    for (key, value) in keys.iter().zip(values) {
        let group = edges[1..groups].partition_point(|edge| edge < key);
        found[group].values.push(*value);
    }
    Ok(found)
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
    fn groups_are_cut_at_quantiles_and_keep_equal_keys_together() {
        let keys: Vec<f64> = (1..=8).map(f64::from).collect();
        let found = by_quantile(&keys, &keys, 4).unwrap();
        let values: Vec<_> = found.iter().map(|group| group.values.as_slice()).collect();
        assert_eq!(values, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]);
        assert_eq!((found[0].lower, found[0].upper), (1.0, 2.75));
        let found = by_quantile(&[5.0; 6], &keys[..6], 4).unwrap();
        let sizes: Vec<_> = found.iter().map(|group| group.values.len()).collect();
        assert_eq!(sizes, [6, 0, 0, 0]);
        assert!(by_quantile(&[], &[], 4).is_err());
        assert!(by_quantile(&[1.0], &[], 4).is_err());
        assert!(by_quantile(&[f64::NAN], &[1.0], 4).is_err());
        assert!(by_quantile(&[1.0], &[1.0], 0).is_err());
    }

    #[test]
    fn histogram_closes_its_last_bin() {
        let found = histogram(&[-1.0, 0.0, 0.5, 1.0, 2.0, 2.1], &[0.0, 1.0, 2.0]).unwrap();
        assert_eq!((found.counts, found.below, found.above), (vec![2, 2], 1, 1));
        assert!(histogram(&[1.0], &[0.0, 0.0]).is_err());
        assert!(histogram(&[f64::NAN], &[0.0, 1.0]).is_err());
    }
}
