//! The confidence view of pairwise predictions.

use serde::{Deserialize, Serialize};

use crate::error::{Result, check_finite, check_unit};
use crate::logistic::sigmoid;

/// How sure a pairwise predictor was of its choice, and whether the choice was right.
/// Feed the two columns to [`super::calibration`] as probabilities and labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// `max(p, 1 - p)`, in [0.5, 1].
    pub confidence: Vec<f64>,
    /// 1 where `p > 1/2`, else 0: an exact tie of rewards is no correct choice.
    pub correct: Vec<f64>,
}

impl Confidence {
    /// From the probabilities of the preferred response.
    pub fn of_probabilities(probabilities: &[f64]) -> Result<Self> {
        check_unit("probabilities", probabilities)?;
        let confidence = probabilities.iter().map(|p| p.max(1.0 - p)).collect();
        let correct = probabilities
            .iter()
            .map(|p| f64::from(u8::from(*p > 0.5)))
            .collect();
        Ok(Self {
            confidence,
            correct,
        })
    }

    /// From margins, reward of the preferred response minus reward of the other
    /// (Bradley-Terry: p = sigmoid(margin)).
    pub fn of_margins(margins: &[f64]) -> Result<Self> {
        check_finite("margins", margins, 1)?;
        Self::of_probabilities(
            &margins
                .iter()
                .map(|margin| sigmoid(*margin))
                .collect::<Vec<_>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_choice_keeps_its_confidence() {
        let found = Confidence::of_probabilities(&[0.9, 0.25, 0.5]).unwrap();
        assert_eq!(found.confidence, [0.9, 0.75, 0.5]);
        assert_eq!(found.correct, [1.0, 0.0, 0.0]);
        let found = Confidence::of_margins(&[0.0, 3f64.ln(), -(3f64.ln())]).unwrap();
        for (found, wanted) in found.confidence.iter().zip([0.5, 0.75, 0.75]) {
            assert!((found - wanted).abs() < 1e-15);
        }
        assert_eq!(found.correct, [0.0, 1.0, 0.0]);
        assert!(Confidence::of_margins(&[]).is_err());
        assert!(Confidence::of_margins(&[f64::NAN]).is_err());
    }
}
