//! Proper scoring rules.

use crate::error::{Error, Result, check_finite, check_parallel, check_unit};
use crate::logistic::log_sigmoid;

/// The Brier score, mean of `(p - y)²` (Brier 1950, one class). Labels in [0, 1].
pub fn brier(probabilities: &[f64], labels: &[f64]) -> Result<f64> {
    check_predictions(probabilities, labels)?;
    let squares: f64 = probabilities
        .iter()
        .zip(labels)
        .map(|(p, y)| (p - y).powi(2))
        .sum();
    Ok(squares / labels.len() as f64)
}

/// The negative log-likelihood in nats, mean of `-y ln p - (1 - y) ln(1 - p)`. Labels in
/// [0, 1]. A prediction of exactly 0 or 1 that is wrong makes it infinite: an error that
/// names the record (margins, in [`margin_nll`], have no such limit).
pub fn nll(probabilities: &[f64], labels: &[f64]) -> Result<f64> {
    check_predictions(probabilities, labels)?;
    let term = |weight: f64, p: f64| if weight > 0.0 { -weight * p.ln() } else { 0.0 };
    let terms: Vec<f64> = probabilities
        .iter()
        .zip(labels)
        .map(|(&p, &y)| term(y, p) + term(1.0 - y, 1.0 - p))
        .collect();
    match terms.iter().position(|term| term.is_infinite()) {
        Some(index) => Err(Error::NotFinite {
            what: "a negative log-likelihood",
            index,
        }),
        None => Ok(terms.iter().sum::<f64>() / terms.len() as f64),
    }
}

/// The negative log-likelihood in nats of margins (reward of the preferred response minus
/// reward of the other) at a temperature: mean of `-ln sigmoid(margin / temperature)`.
pub fn margin_nll(margins: &[f64], temperature: f64) -> Result<f64> {
    check_finite("margins", margins, 1)?;
    if !(temperature > 0.0 && temperature.is_finite()) {
        let (value, range) = (temperature, "(0, inf)");
        return Err(Error::OutOfRange {
            what: "a temperature",
            index: 0,
            value,
            range,
        });
    }
    let sum: f64 = margins
        .iter()
        .map(|margin| -log_sigmoid(margin / temperature))
        .sum();
    Ok(sum / margins.len() as f64)
}

fn check_predictions(probabilities: &[f64], labels: &[f64]) -> Result<()> {
    check_parallel(
        ("probabilities", probabilities.len()),
        ("labels", labels.len()),
    )?;
    check_unit("probabilities", probabilities)?;
    check_unit("labels", labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logistic::sigmoid;

    #[test]
    fn scores_by_hand() {
        let (p, y) = ([0.8, 0.3], [1.0, 0.0]);
        assert!((brier(&p, &y).unwrap() - (0.04 + 0.09) / 2.0).abs() < 1e-15);
        let wanted = -(0.8f64.ln() + 0.7f64.ln()) / 2.0;
        assert!((nll(&p, &y).unwrap() - wanted).abs() < 1e-15);
        assert_eq!(nll(&[1.0, 0.0], &[1.0, 0.0]).unwrap(), 0.0);
        assert!((nll(&[0.5], &[0.5]).unwrap() - std::f64::consts::LN_2).abs() < 1e-15);
    }

    #[test]
    fn margins_and_probabilities_agree() {
        let margins = [0.4, -1.2, 3.0];
        let p: Vec<f64> = margins.iter().map(|margin| sigmoid(margin / 2.0)).collect();
        let difference = margin_nll(&margins, 2.0).unwrap() - nll(&p, &[1.0; 3]).unwrap();
        assert!(difference.abs() < 1e-15);
        assert_eq!(margin_nll(&[-1e4], 1.0).unwrap(), 1e4);
    }

    #[test]
    fn undefined_is_an_error() {
        assert!(brier(&[], &[]).is_err());
        assert!(nll(&[0.0], &[1.0]).is_err());
        assert!(nll(&[0.5], &[]).is_err());
        assert!(margin_nll(&[], 1.0).is_err());
        assert!(margin_nll(&[1.0], 0.0).is_err());
        assert!(margin_nll(&[1.0], f64::NAN).is_err());
    }
}
