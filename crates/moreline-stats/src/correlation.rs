//! Correlation of two parallel sequences.

use crate::describe::raw_mean;
use crate::error::{Error, Result, check_finite, check_parallel};

/// Pearson's correlation coefficient, in [-1, 1]; undefined if either sequence is constant.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64> {
    check_parallel(
        ("the first variable", x.len()),
        ("the second variable", y.len()),
    )?;
    check_finite("a correlation", x, 2)?;
    check_finite("a correlation", y, 2)?;
    let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    if constant(x) || constant(y) {
        let reason = "one of the variables is constant";
        return Err(Error::Undetermined {
            what: "a correlation",
            reason,
        });
    }
    let (mean_x, mean_y) = (raw_mean(x), raw_mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (a, b) = (a - mean_x, b - mean_y);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    Ok((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Spearman's rank correlation: Pearson's coefficient of the ranks, equal values sharing
/// their mean rank.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64> {
    check_parallel(
        ("the first variable", x.len()),
        ("the second variable", y.len()),
    )?;
    check_finite("a rank correlation", x, 2)?;
    check_finite("a rank correlation", y, 2)?;
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 1, equal values sharing their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for run in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &index in run {
            ranks[index] = before as f64 + (run.len() + 1) as f64 / 2.0;
        }
        before += run.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_coefficients() {
        let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]);
        assert!((pearson(&x, &y).unwrap() - 0.8).abs() < 1e-15);
        assert!((spearman(&x, &y).unwrap() - 0.8).abs() < 1e-15);
        let cubes: Vec<f64> = x.iter().map(|x| -x * x * x).collect();
        assert!((spearman(&x, &cubes).unwrap() + 1.0).abs() < 1e-15);
        assert!(pearson(&x, &cubes).unwrap() > -0.99);
    }

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(
            ranks(&[3.0, 1.0, 3.0, -0.0, 0.0]),
            [4.5, 3.0, 4.5, 1.5, 1.5]
        );
    }

    #[test]
    fn a_constant_has_no_correlation() {
        assert!(matches!(
            pearson(&[1.0, 1.0], &[1.0, 2.0]),
            Err(Error::Undetermined { .. })
        ));
        assert!(matches!(
            spearman(&[1.0], &[1.0]),
            Err(Error::TooFew { .. })
        ));
        assert!(matches!(
            pearson(&[1.0], &[1.0, 2.0]),
            Err(Error::LengthMismatch { .. })
        ));
        assert!(matches!(
            pearson(&[1.0, f64::NAN], &[1.0, 2.0]),
            Err(Error::NotFinite { .. })
        ));
    }
}
