//! Position bias of a judge that saw each pair in both orders.

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::error::{Result, check_count};

/// The verdicts on one pair in both orders, each seen from the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BothOrders {
    /// Verdict with the candidate shown first.
    pub candidate_first: Verdict,
    /// Verdict with the baseline shown first.
    pub baseline_first: Verdict,
}

impl BothOrders {
    /// The verdict both orders support: a win or a loss only if both agree, else a tie
    /// (the conservative rule of Zheng et al. 2023, "Judging LLM-as-a-Judge", section 3.4).
    pub fn agreed(self) -> Verdict {
        if self.candidate_first == self.baseline_first {
            self.candidate_first
        } else {
            Verdict::Tie
        }
    }
}

/// How far the order of presentation moves the verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PositionBias {
    /// Number of pairs.
    pub pairs: usize,
    /// Share of pairs with the same verdict in both orders.
    pub consistency: f64,
    /// Share of pairs where whatever stood first won both times.
    pub first_both_times: f64,
    /// Share of pairs where whatever stood second won both times.
    pub second_both_times: f64,
    /// Share of all verdicts (two per pair) for the first position minus the share for the
    /// second: 0 without bias, 1 if the first always wins, -1 if the second does.
    pub bias: f64,
}

/// Measures the bias over at least one pair.
pub fn position_bias(pairs: &[BothOrders]) -> Result<PositionBias> {
    check_count("pairs judged in both orders", pairs.len(), 1)?;
    let n = pairs.len() as f64;
    let share = |holds: &dyn Fn(&BothOrders) -> bool| {
        pairs.iter().filter(|pair| holds(pair)).count() as f64 / n
    };
    let flipped = |first, second| {
        share(&move |pair| (pair.candidate_first, pair.baseline_first) == (first, second))
    };
    // Towards the first position a win counts +1 with the candidate first, -1 otherwise.
    let signed: f64 = pairs
        .iter()
        .map(|pair| pair.candidate_first.value() - pair.baseline_first.value())
        .sum();
    Ok(PositionBias {
        pairs: pairs.len(),
        consistency: share(&|pair| pair.candidate_first == pair.baseline_first),
        first_both_times: flipped(Verdict::Win, Verdict::Loss),
        second_both_times: flipped(Verdict::Loss, Verdict::Win),
        bias: signed / n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Loss, Tie, Win};

    fn pair(candidate_first: Verdict, baseline_first: Verdict) -> BothOrders {
        BothOrders {
            candidate_first,
            baseline_first,
        }
    }

    #[test]
    fn only_agreement_decides() {
        assert_eq!(pair(Win, Win).agreed(), Win);
        assert_eq!(pair(Loss, Loss).agreed(), Loss);
        assert_eq!(pair(Win, Loss).agreed(), Tie);
        assert_eq!(pair(Win, Tie).agreed(), Tie);
    }

    #[test]
    fn bias_runs_from_second_to_first() {
        let bias = |pairs: &[BothOrders]| position_bias(pairs).unwrap().bias;
        assert_eq!(bias(&[pair(Win, Loss), pair(Win, Loss)]), 1.0);
        assert_eq!(bias(&[pair(Loss, Win)]), -1.0);
        assert_eq!(
            bias(&[pair(Win, Win), pair(Loss, Loss), pair(Tie, Tie)]),
            0.0
        );
        // One verdict of two for the first position, the other for none.
        assert_eq!(bias(&[pair(Win, Tie)]), 0.5);
        let found = position_bias(&[
            pair(Win, Loss),
            pair(Win, Win),
            pair(Loss, Win),
            pair(Win, Tie),
        ]);
        let found = found.unwrap();
        assert_eq!((found.consistency, found.first_both_times), (0.25, 0.25));
        assert_eq!((found.second_both_times, found.bias), (0.25, 0.125));
        assert!(position_bias(&[]).is_err());
    }
}
