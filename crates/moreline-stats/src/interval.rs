//! Intervals around an estimate.

use serde::{Deserialize, Serialize};

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::describe::{mean, standard_error};
use crate::error::{Error, Result, check_level};
use crate::normal;

/// An estimate between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate from all records.
    pub estimate: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Level of confidence, in (0, 1).
    pub level: f64,
}

/// The interval of the mean of at least two values by Student's t:
/// `mean ± t(n - 1) s / sqrt(n)`, with `s` the sample standard deviation.
pub fn of_mean(values: &[f64], level: f64) -> Result<Interval> {
    check_level(level)?;
    let error = standard_error(values)?;
    let estimate = mean(values)?;
    let half = error * t_quantile(values.len() - 1, level)?;
    Ok(Interval {
        estimate,
        lower: estimate - half,
        upper: estimate + half,
        level,
    })
}

/// The two-sided quantile of Student's t.
fn t_quantile(freedom: usize, level: f64) -> Result<f64> {
    let too_few = Error::TooFew {
        what: "an interval of a mean",
        needed: 2,
        got: freedom + 1,
    };
    let t = StudentsT::new(0.0, 1.0, freedom as f64).map_err(|_| too_few)?;
    Ok(t.inverse_cdf(0.5 + level / 2.0))
}

/// Wilson's score interval of a proportion of `successes` in `trials` (Wilson 1927): with
/// `z` the two-sided normal quantile and `p` the proportion,
/// `(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)`.
pub fn wilson(successes: u64, trials: u64, level: f64) -> Result<Interval> {
    check_level(level)?;
    if trials == 0 {
        return Err(Error::TooFew {
            what: "a proportion",
            needed: 1,
            got: 0,
        });
    }
    if successes > trials {
        let (value, range) = (successes as f64, "0 to the number of trials");
        return Err(Error::OutOfRange {
            what: "a proportion",
            index: 0,
            value,
            range,
        });
    }
    let (n, z) = (trials as f64, normal::two_sided_quantile(level));
    let p = successes as f64 / n;
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    let lower = if successes == 0 {
        0.0
    } else {
        (middle - half) / scale
    };
    let upper = if successes == trials {
        1.0
    } else {
        (middle + half) / scale
    };
    Ok(Interval {
        estimate: p,
        lower,
        upper,
        level,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles as tables print them.
    #[test]
    fn a_mean_has_the_interval_of_students_t() {
        for (n, t) in [
            (2, 12.706_205),
            (3, 4.302_653),
            (10, 2.262_157),
            (31, 2.042_272),
        ] {
            let values: Vec<f64> = (0..n).map(|i| f64::from(i % 3)).collect();
            let found = of_mean(&values, 0.95).unwrap();
            let half = t * standard_error(&values).unwrap();
            assert!(
                (found.upper - found.estimate - half).abs() < 1e-6 * half,
                "{n}"
            );
            assert!(
                (found.estimate - found.lower - half).abs() < 1e-6 * half,
                "{n}"
            );
        }
        assert!(of_mean(&[1.0], 0.95).is_err());
        assert!(of_mean(&[1.0, f64::NAN], 0.95).is_err());
        assert_eq!(of_mean(&[2.0, 2.0], 0.95).unwrap().lower, 2.0);
    }

    #[test]
    fn wilson_solves_the_score_equation() {
        for (successes, trials) in [(1, 10), (5, 10), (9, 10), (129, 200), (3, 1000)] {
            let found = wilson(successes, trials, 0.95).unwrap();
            let n = trials as f64;
            for bound in [found.lower, found.upper] {
                let z = (found.estimate - bound) / (bound * (1.0 - bound) / n).sqrt();
                assert!((z.abs() - 1.959_963_984_540_054).abs() < 1e-9);
            }
            assert!(found.lower < found.estimate && found.estimate < found.upper);
        }
    }

    #[test]
    fn extremes_touch_their_border_and_nothing_is_an_error() {
        let none = wilson(0, 10, 0.95).unwrap();
        assert_eq!(none.lower, 0.0);
        assert!((none.upper - 0.277_532_8).abs() < 1e-6);
        assert_eq!(wilson(10, 10, 0.95).unwrap().upper, 1.0);
        assert!(wilson(0, 0, 0.95).is_err());
        assert!(wilson(2, 1, 0.95).is_err());
        assert!(wilson(1, 2, 1.0).is_err());
        assert!(wilson(1, 2, f64::NAN).is_err());
    }
}
