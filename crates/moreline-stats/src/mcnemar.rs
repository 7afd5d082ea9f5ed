//! McNemar's exact test of two classifiers on the same records.

use crate::error::{Result, check_count, check_parallel};

/// The records on which two classifiers differ, and what that is worth.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct McNemar {
    /// Records only the first has right.
    pub only_first: u64,
    /// Records only the second has right.
    pub only_second: u64,
    /// Exact two-sided p value; see [`exact_p_value`].
    pub p_value: f64,
}

/// Compares two classifiers by which records each has right. At least one record.
pub fn compare(first: &[bool], second: &[bool]) -> Result<McNemar> {
    check_parallel(
        ("the first classifier", first.len()),
        ("the second classifier", second.len()),
    )?;
    check_count("a comparison of classifiers", first.len(), 1)?;
    let count = |wanted| {
        first
            .iter()
            .zip(second)
            .filter(|(a, b)| (**a, **b) == wanted)
            .count() as u64
    };
    let (only_first, only_second) = (count((true, false)), count((false, true)));
    Ok(McNemar {
        only_first,
        only_second,
        p_value: exact_p_value(only_first, only_second),
    })
}

/// The exact two-sided p value from the discordant counts `b` and `c`: twice the tail
/// `P(X <= min(b, c))` of a binomial with n = b + c and p = 1/2, at most 1 (McNemar 1947,
/// exact form). 1 where nothing is discordant.
pub fn exact_p_value(b: u64, c: u64) -> f64 {
    let (n, k) = (b + c, b.min(c));
    // Terms relative to the last and largest, C(n, k), summed downwards.
    let (mut ratio, mut sum) = (1.0, 1.0);
    for i in (1..=k).rev() {
        ratio *= i as f64 / (n - i + 1) as f64;
        sum += ratio;
        if ratio < f64::EPSILON * 1e-3 {
            break;
        }
    }
    let ln_largest: f64 = (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum();
    let tail = (ln_largest - n as f64 * std::f64::consts::LN_2).exp() * sum;
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_counts_by_hand() {
        assert_eq!(exact_p_value(0, 0), 1.0);
        assert_eq!(exact_p_value(3, 3), 1.0);
        assert!((exact_p_value(0, 5) - 2.0 / 32.0).abs() < 1e-15);
        assert!((exact_p_value(8, 2) - 2.0 * (1.0 + 10.0 + 45.0) / 1024.0).abs() < 1e-15);
        assert_eq!(exact_p_value(8, 2), exact_p_value(2, 8));
    }

    #[test]
    fn large_counts_approach_the_normal() {
        // Continuity-corrected z = (5200 - 4800 - 1) / 100 = 3.99.
        let found = exact_p_value(4800, 5200);
        assert!((found / 6.61e-5 - 1.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn counts_only_what_differs() {
        let first = [true, true, true, false, false];
        let second = [true, false, false, false, true];
        let found = compare(&first, &second).unwrap();
        assert_eq!(
            (found.only_first, found.only_second, found.p_value),
            (2, 1, 1.0)
        );
        assert!(compare(&[], &[]).is_err());
        assert!(compare(&[true], &[]).is_err());
    }
}
