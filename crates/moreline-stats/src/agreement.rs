//! How often two raters, or two models, say the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Result, check_count, check_parallel};

/// Agreement of two raters on the same records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Share of the records on which both say the same.
    pub share: f64,
    /// Cohen's kappa; `None` where both say one and the same thing of every record, so that
    /// agreement could not have been less by chance.
    pub kappa: Option<f64>,
}

/// Compares two ratings of at least one record: with `p` the share of equal ratings and `e`
/// that expected of independent raters with these marginals, kappa is `(p - e) / (1 - e)`
/// (Cohen 1960, "A Coefficient of Agreement for Nominal Scales"). On whether two models are
/// right, that is their error consistency (Geirhos et al. 2020, arXiv 2006.16736).
pub fn agreement<T: Ord>(first: &[T], second: &[T]) -> Result<Agreement> {
    check_parallel(
        ("the first rater", first.len()),
        ("the second rater", second.len()),
    )?;
    check_count("an agreement", first.len(), 1)?;
    let n = first.len() as f64;
    let mut marginals: BTreeMap<&T, [f64; 2]> = BTreeMap::new();
    for (side, ratings) in [first, second].into_iter().enumerate() {
        for rating in ratings {
            marginals.entry(rating).or_default()[side] += 1.0;
        }
    }
    let same = first.iter().zip(second).filter(|(a, b)| a == b).count();
    let share = same as f64 / n;
    let expected: f64 = marginals.values().map(|[a, b]| a / n * (b / n)).sum();
    Ok(Agreement {
        share,
        kappa: (marginals.len() > 1).then(|| (share - expected) / (1.0 - expected)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textbook_table() {
        // 50 proposals: both yes 20, only the first 5, only the second 10, both no 15:
        // p = 0.7, e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa 0.4.
        let cells = [
            (true, true, 20),
            (true, false, 5),
            (false, true, 10),
            (false, false, 15),
        ];
        let side = |first: bool| -> Vec<bool> {
            cells
                .iter()
                .flat_map(|(a, b, n)| vec![if first { *a } else { *b }; *n])
                .collect()
        };
        let found = agreement(&side(true), &side(false)).unwrap();
        assert!((found.share - 0.7).abs() < 1e-15);
        assert!((found.kappa.unwrap() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn extremes_and_what_has_no_kappa() {
        assert_eq!(agreement(&[1, 2], &[1, 2]).unwrap().kappa, Some(1.0));
        assert_eq!(agreement(&[1, 2], &[2, 1]).unwrap().kappa, Some(-1.0));
        let same = agreement(&[1, 1], &[1, 1]).unwrap();
        assert_eq!((same.share, same.kappa), (1.0, None));
        assert_eq!(agreement(&[1, 1], &[2, 2]).unwrap().kappa, Some(0.0));
        assert!(agreement::<u8>(&[], &[]).is_err());
        assert!(agreement(&[1], &[1, 2]).is_err());
    }
}
