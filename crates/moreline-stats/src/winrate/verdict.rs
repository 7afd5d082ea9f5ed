//! One verdict.

use serde::{Deserialize, Serialize};

/// A judge's verdict on a pair, seen from the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The candidate is better.
    Win,
    /// Neither is better.
    Tie,
    /// The baseline is better.
    Loss,
}

impl Verdict {
    /// 1 for a win, 1/2 for a tie, 0 for a loss.
    pub fn value(self) -> f64 {
        match self {
            Self::Win => 1.0,
            Self::Tie => 0.5,
            Self::Loss => 0.0,
        }
    }
}
