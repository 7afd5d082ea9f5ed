//! Decided pairs as they come in, and the figures one watches while training.

use moreline_stats::calibration::{Binning, Confidence, calibration, margin_nll};
use moreline_stats::pairwise::{credit, pairs};

/// Decided pairs: the better response against the worse.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Reward of the better minus that of the worse.
    margins: Vec<f64>,
    /// The first row that could not be compared.
    failed: Option<moreline_stats::Error>,
}

impl Compared {
    /// Adds every pair of a row's responses.
    pub(crate) fn add(&mut self, scores: &[f64], rewards: &[f64]) {
        match pairs(scores, rewards) {
            Ok(found) => {
                let margins = found.decided.iter().map(|pair| pair.margin);
                self.margins.extend(margins);
            }
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
    }

    /// Loss, accuracy, mean margin and ECE (of `bins` equal bins), as in the
    /// metrics of an `evaluate-reward` stage.
    ///
    /// # Errors
    /// No pair at all, a reward that is not finite.
    pub(crate) fn figures(&self, bins: usize) -> moreline_stats::Result<[(&'static str, f64); 4]> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let confidence = Confidence::of_margins(&self.margins)?;
        let (share, correct) = (&confidence.confidence, &confidence.correct);
        let found = calibration(share, correct, bins, Binning::Uniform)?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let credits: Vec<f64> = self.margins.iter().map(|margin| credit(*margin)).collect();
        Ok([
            ("loss", margin_nll(&self.margins, 1.0)?),
            ("accuracy", mean(&credits)),
            ("margin", mean(&self.margins)),
            ("ece", found.ece),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_compare_is_an_error_not_a_zero() {
        let mut compared = Compared::default();
        assert!(compared.figures(10).is_err());
        compared.add(&[1.0, 1.0], &[0.5, 0.0]);
        assert!(compared.figures(10).is_err());
        compared.add(&[1.0, 0.0], &[0.5, 0.0]);
        assert_eq!(compared.figures(10).unwrap()[1], ("accuracy", 1.0));
        compared.add(&[1.0, 0.0], &[f64::NAN, 0.0]);
        assert!(compared.figures(10).is_err());
    }
}
