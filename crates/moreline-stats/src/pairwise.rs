//! Decided pairs: which of two responses the data prefer, and what a reward model says.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::error::{Result, check_finite, check_parallel};

/// A pair of responses whose scores differ, better against worse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Index of the response with the higher score.
    pub better: usize,
    /// Index of the other.
    pub worse: usize,
    /// Reward of the better minus reward of the worse.
    pub margin: f64,
}

/// The pairs of one record's responses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pairs {
    /// Those of different scores, in the order (0, 1), (0, 2), ..., (1, 2), ...
    pub decided: Vec<Decided>,
    /// Number of pairs of equal scores.
    pub ties: usize,
}

/// What a margin is worth: 1 if the better response has the higher reward, a half for equal
/// rewards, else 0. A NaN has no credit of its own: check margins first.
pub fn credit(margin: f64) -> f64 {
    match margin.partial_cmp(&0.0) {
        Some(Ordering::Greater) => 1.0,
        Some(Ordering::Equal) => 0.5,
        _ => 0.0,
    }
}

/// Compares a record's responses, two at a time. Every reward must be finite.
pub fn pairs(scores: &[f64], rewards: &[f64]) -> Result<Pairs> {
    check_parallel(("scores", scores.len()), ("rewards", rewards.len()))?;
    check_finite("scores of responses", scores, 0)?;
    check_finite("rewards of responses", rewards, 0)?;
    let mut found = Pairs::default();
    for i in 0..scores.len() {
        for j in i + 1..scores.len() {
            let (better, worse) = match scores[i].total_cmp(&scores[j]) {
                Ordering::Equal => {
                    found.ties += 1;
                    continue;
                }
                Ordering::Greater => (i, j),
                Ordering::Less => (j, i),
            };
            let margin = rewards[better] - rewards[worse];
            found.decided.push(Decided {
                better,
                worse,
                margin,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_against_worse_and_ties_apart() {
        let found = pairs(&[-3.0, -1.0, -1.0], &[0.5, 0.25, 0.5]).unwrap();
        assert_eq!(found.ties, 1);
        let flat: Vec<_> = found
            .decided
            .iter()
            .map(|pair| (pair.better, pair.worse, credit(pair.margin)))
            .collect();
        assert_eq!(flat, [(1, 0, 0.0), (2, 0, 0.5)]);
        assert_eq!(credit(1e-300), 1.0);
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        assert!(pairs(&[1.0, 0.0], &[f64::NAN, 0.0]).is_err());
        assert!(pairs(&[1.0, f64::NAN], &[1.0, 0.0]).is_err());
        assert!(pairs(&[1.0], &[1.0, 0.0]).is_err());
        assert_eq!(pairs(&[], &[]).unwrap(), Pairs::default());
    }
}
