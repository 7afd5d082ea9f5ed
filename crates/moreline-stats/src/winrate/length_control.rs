//! The win rate at equal lengths.

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::bootstrap::Bootstrap;
use crate::describe::raw_mean;
use crate::error::{Error, Result, check_count, check_finite, check_parallel};
use crate::interval::Interval;
use crate::logistic::{log_sigmoid, sigmoid};

/// Precision of the zero-mean Gaussian prior on the slope: one unit, worth about four
/// verdicts, which keeps the fit finite when length alone separates wins from losses.
pub const SLOPE_PRECISION: f64 = 1.0;

/// The win rate a logistic model predicts for responses of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthControlled {
    /// Win rate at a length difference of zero, with its bootstrap interval (the model is
    /// fitted anew to each resample).
    pub win_rate: Interval,
    /// Slope: by how much the log-odds of winning rise from equal lengths to far longer.
    pub length_slope: f64,
}

/// Fits `P(win) = sigmoid(a + b tanh(d / s))` by maximum likelihood, `d` the candidate's
/// length minus the baseline's (in any unit), `s` its root mean square over all records, a
/// tie being half a win and half a loss, with a N(0, 1 / [`SLOPE_PRECISION`]) prior on `b`;
/// the figure is `sigmoid(a)`. This is the length term of length-controlled AlpacaEval
/// (Dubois et al. 2024, arXiv 2404.04475, eq. 2) without its model and instruction terms.
///
/// Where all verdicts are wins (or losses) the limit, 1 (or 0), is returned. Undetermined
/// if all differences are equal and not zero: length and quality cannot be told apart.
pub fn length_controlled(
    verdicts: &[Verdict],
    length_differences: &[f64],
    bootstrap: &Bootstrap,
) -> Result<LengthControlled> {
    let lengths = ("length differences", length_differences.len());
    check_parallel(("verdicts", verdicts.len()), lengths)?;
    check_count("verdicts", verdicts.len(), 1)?;
    check_finite("length differences", length_differences, 1)?;
    let first = length_differences[0];
    if first != 0.0
        && length_differences
            .iter()
            .all(|difference| *difference == first)
    {
        let reason = "all length differences are equal and not zero";
        return Err(Error::Undetermined {
            what: "a length-controlled win rate",
            reason,
        });
    }
    let squares: Vec<f64> = length_differences.iter().map(|d| d * d).collect();
    let scale = raw_mean(&squares).sqrt();
    let records: Vec<(f64, f64)> = verdicts
        .iter()
        .zip(length_differences)
        .map(|(verdict, d)| {
            (
                if scale > 0.0 { (d / scale).tanh() } else { 0.0 },
                verdict.value(),
            )
        })
        .collect();
    let rows: Vec<usize> = (0..records.len()).collect();
    let win_rate = bootstrap.statistic(records.len(), |rows| {
        Ok(sigmoid(Fit::of(&records, rows).intercept))
    })?;
    Ok(LengthControlled {
        win_rate,
        length_slope: Fit::of(&records, &rows).slope,
    })
}

/// A logistic model with an intercept and one slope.
struct Fit {
    intercept: f64,
    slope: f64,
}

impl Fit {
    /// Newton's method with step halving on the concave log-posterior of the chosen rows of
    /// (covariate, outcome in [0, 1]).
    fn of(records: &[(f64, f64)], rows: &[usize]) -> Self {
        for extreme in [0.0, 1.0] {
            if rows.iter().all(|&row| records[row].1 == extreme) {
                let intercept = if extreme > 0.0 {
                    f64::INFINITY
                } else {
                    f64::NEG_INFINITY
                };
                return Self {
                    intercept,
                    slope: 0.0,
                };
            }
        }
        let mut fit = Self {
            intercept: 0.0,
            slope: 0.0,
        };
        let mut value = fit.log_posterior(records, rows);
        for _ in 0..100 {
            let (step_a, step_b) = fit.newton_step(records, rows);
            let mut size = 1.0;
            let better = loop {
                let next = Self {
                    intercept: fit.intercept + size * step_a,
                    slope: fit.slope + size * step_b,
                };
                let next_value = next.log_posterior(records, rows);
                if next_value > value {
                    break Some((next, next_value));
                }
                size *= 0.5;
                if size < 1e-6 {
                    break None;
                }
            };
            let Some((next, next_value)) = better else {
                break;
            };
            (fit, value) = (next, next_value);
            if step_a.abs() + step_b.abs() < 1e-10 {
                break;
            }
        }
        fit
    }

    fn log_posterior(&self, records: &[(f64, f64)], rows: &[usize]) -> f64 {
        let likelihood: f64 = rows
            .iter()
            .map(|&row| {
                let (x, y) = records[row];
                let z = self.intercept + self.slope * x;
                y * log_sigmoid(z) + (1.0 - y) * log_sigmoid(-z)
            })
            .sum();
        likelihood - 0.5 * SLOPE_PRECISION * self.slope * self.slope
    }

    /// Solves the two by two Newton system at the current point.
    fn newton_step(&self, records: &[(f64, f64)], rows: &[usize]) -> (f64, f64) {
        let (mut ga, mut gb) = (0.0, -SLOPE_PRECISION * self.slope);
        let (mut haa, mut hab, mut hbb) = (0.0, 0.0, SLOPE_PRECISION);
        for &row in rows {
            let (x, y) = records[row];
            let p = sigmoid(self.intercept + self.slope * x);
            let w = p * (1.0 - p);
            ga += y - p;
            gb += (y - p) * x;
            haa += w;
            hab += w * x;
            hbb += w * x * x;
        }
        let determinant = haa * hbb - hab * hab;
        (
            (hbb * ga - hab * gb) / determinant,
            (haa * gb - hab * ga) / determinant,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Loss, Tie, Win};

    fn plan() -> Bootstrap {
        Bootstrap {
            replicates: 200,
            ..Bootstrap::default()
        }
    }

    #[test]
    fn without_length_differences_it_is_the_win_rate() {
        let verdicts = [Win, Win, Tie, Loss, Win];
        let found = length_controlled(&verdicts, &[0.0; 5], &plan()).unwrap();
        assert!((found.win_rate.estimate - 0.7).abs() < 1e-9);
        assert_eq!(found.length_slope, 0.0);
    }

    #[test]
    fn a_judge_that_only_likes_length_gives_one_half() {
        let differences: Vec<f64> = (0..90)
            .map(|i| if i % 3 == 0 { -40.0 } else { 40.0 })
            .collect();
        let verdicts: Vec<Verdict> = (0..90)
            .map(|i| if i % 3 == 0 { Loss } else { Win })
            .collect();
        let found = length_controlled(&verdicts, &differences, &plan()).unwrap();
        assert!(found.length_slope > 1.0);
        // The plain rate is 2/3; at equal lengths nothing tells the two apart.
        assert!((found.win_rate.estimate - 0.5).abs() < 0.12, "{found:?}");
    }

    #[test]
    fn recovers_a_model_from_expected_outcomes() {
        // 1,000 records at each of two differences, with the frequencies of a = 0.5, b = 1.5.
        let x = 1f64.tanh();
        let (mut verdicts, mut differences) = (Vec::new(), Vec::new());
        for sign in [-1.0, 1.0] {
            let wins = (1000.0 * sigmoid(0.5 + 1.5 * sign * x)).round() as usize;
            verdicts.extend((0..1000).map(|i| if i < wins { Win } else { Loss }));
            differences.extend(vec![sign * 25.0; 1000]);
        }
        let found = length_controlled(&verdicts, &differences, &plan()).unwrap();
        assert!(
            (found.win_rate.estimate - sigmoid(0.5)).abs() < 3e-3,
            "{found:?}"
        );
        assert!((found.length_slope - 1.5).abs() < 0.02);
        assert!(found.win_rate.lower < sigmoid(0.5) && sigmoid(0.5) < found.win_rate.upper);
    }

    #[test]
    fn limits_and_errors() {
        let all = length_controlled(&[Win; 4], &[1.0, -2.0, 3.0, 0.0], &plan()).unwrap();
        assert_eq!(all.win_rate.estimate, 1.0);
        let none = length_controlled(&[Loss; 2], &[1.0, -2.0], &plan()).unwrap();
        assert_eq!(none.win_rate.estimate, 0.0);
        assert!(length_controlled(&[Win, Loss], &[5.0, 5.0], &plan()).is_err());
        assert!(length_controlled(&[], &[], &plan()).is_err());
        assert!(length_controlled(&[Win], &[f64::NAN], &plan()).is_err());
        assert!(length_controlled(&[Win], &[], &plan()).is_err());
    }
}
