//! The plain win rate.

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::bootstrap::Bootstrap;
use crate::error::{Result, check_count};
use crate::interval::Interval;

/// Counts of verdicts and the win rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// Verdicts for the candidate.
    pub wins: usize,
    /// Verdicts for neither.
    pub ties: usize,
    /// Verdicts for the baseline.
    pub losses: usize,
    /// `(wins + ties / 2) / all`, with its bootstrap interval.
    pub win_rate: Interval,
}

impl WinRate {
    /// Number of verdicts.
    pub fn total(&self) -> usize {
        self.wins + self.ties + self.losses
    }

    /// Shares of wins, ties and losses; they add up to 1.
    pub fn shares(&self) -> [f64; 3] {
        [self.wins, self.ties, self.losses].map(|count| count as f64 / self.total() as f64)
    }
}

/// Summarises at least one verdict; one verdict per prompt, as prompts are resampled.
pub fn win_rate(verdicts: &[Verdict], bootstrap: &Bootstrap) -> Result<WinRate> {
    check_count("verdicts", verdicts.len(), 1)?;
    let count = |wanted| {
        verdicts
            .iter()
            .filter(|verdict| **verdict == wanted)
            .count()
    };
    let values: Vec<f64> = verdicts.iter().map(|verdict| verdict.value()).collect();
    Ok(WinRate {
        wins: count(Verdict::Win),
        ties: count(Verdict::Tie),
        losses: count(Verdict::Loss),
        win_rate: bootstrap.mean(&values)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_is_half_a_win() {
        let verdicts = [Verdict::Win, Verdict::Win, Verdict::Tie, Verdict::Loss];
        let found = win_rate(&verdicts, &Bootstrap::default()).unwrap();
        assert_eq!((found.wins, found.ties, found.losses), (2, 1, 1));
        assert_eq!(found.win_rate.estimate, 0.625);
        assert_eq!(found.shares(), [0.5, 0.25, 0.25]);
        assert!(found.win_rate.lower < 0.625 && found.win_rate.upper > 0.625);
    }

    #[test]
    fn no_verdicts_have_no_rate() {
        assert!(win_rate(&[], &Bootstrap::default()).is_err());
    }
}
