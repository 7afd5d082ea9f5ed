//! Temperature scaling of margins.

use serde::{Deserialize, Serialize};

use super::scores::margin_nll;
use crate::describe::raw_mean;
use crate::error::{Error, Result, check_finite};
use crate::logistic::sigmoid;

/// A fitted temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TemperatureFit {
    /// What margins are to be divided by.
    pub temperature: f64,
    /// Negative log-likelihood of the fitted margins at temperature 1, in nats.
    pub nll_before: f64,
    /// Negative log-likelihood of the fitted margins at `temperature`, in nats.
    pub nll_after: f64,
}

/// Fits the temperature that minimises the negative log-likelihood of `margins` (Guo et al.
/// 2017, "On Calibration of Modern Neural Networks", section 4.2, for two classes). Fit on
/// one part of the data and report on another.
///
/// The likelihood is concave in `b = 1 / temperature`, with slope
/// `mean(m sigmoid(-b m))`; its root is bisected. There is no finite, positive root
/// when the mean margin is not positive (worse than chance: `b` would be 0 or less) or no
/// margin is negative (`b` grows without limit); either is an error.
pub fn fit_temperature(margins: &[f64]) -> Result<TemperatureFit> {
    check_finite("a temperature fit", margins, 1)?;
    let undetermined = |reason| Error::Undetermined {
        what: "a temperature",
        reason,
    };
    if margins.iter().all(|margin| *margin >= 0.0) {
        return Err(undetermined(
            "every margin has the right sign, so no temperature is too low",
        ));
    }
    if raw_mean(margins) <= 0.0 {
        return Err(undetermined(
            "the mean margin is not positive, so no temperature is too high",
        ));
    }
    let size = margins
        .iter()
        .fold(0.0_f64, |size, margin| size.max(margin.abs()));
    let slope = |ln_b: f64| {
        margins
            .iter()
            .map(|m| m / size * sigmoid(-ln_b.exp() * m / size))
            .sum::<f64>()
    };
    let (mut low, mut high) = (-40.0, 40.0);
    if slope(low) <= 0.0 || slope(high) >= 0.0 {
        return Err(undetermined(
            "the likelihood is flat as far as numbers reach",
        ));
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if slope(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let temperature = size / (0.5 * (low + high)).exp();
    Ok(TemperatureFit {
        temperature,
        nll_before: margin_nll(margins, 1.0)?,
        nll_after: margin_nll(margins, temperature)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_values_have_a_closed_form() {
        // Margins +m (a share p) and -m: sigmoid(m / T) = p, so T = m / ln(p / (1 - p)).
        for (m, right, wrong) in [(2.0, 3, 1), (1e-3, 9, 1), (1e5, 600, 400)] {
            let mut margins = vec![m; right];
            margins.extend(vec![-m; wrong]);
            let found = fit_temperature(&margins).unwrap();
            let wanted = m / (right as f64 / wrong as f64).ln();
            assert!((found.temperature / wanted - 1.0).abs() < 1e-9, "{found:?}");
            assert!(found.nll_after <= found.nll_before);
        }
    }

    #[test]
    fn scaling_the_margins_scales_the_temperature() {
        let margins = [0.3, 2.0, -0.7, 1.1, -0.1, 0.9];
        let scaled: Vec<f64> = margins.iter().map(|margin| margin * 17.0).collect();
        let (plain, scaled) = (
            fit_temperature(&margins).unwrap(),
            fit_temperature(&scaled).unwrap(),
        );
        assert!((scaled.temperature / plain.temperature - 17.0).abs() < 1e-9);
        for nearby in [0.99, 1.01] {
            assert!(margin_nll(&margins, plain.temperature * nearby).unwrap() > plain.nll_after);
        }
    }

    #[test]
    fn no_finite_temperature_is_an_error() {
        for margins in [&[][..], &[1.0, 2.0], &[0.0], &[-1.0, 0.5], &[1.0, f64::NAN]] {
            assert!(fit_temperature(margins).is_err(), "{margins:?}");
        }
    }
}
