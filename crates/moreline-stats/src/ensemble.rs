//! Rewards of several models for the same responses, made one.

use crate::describe::{raw_mean, standard_deviation};
use crate::error::{Error, Result, check_count, check_finite, check_parallel};

/// The plain mean over the models, response by response. `models` holds one list of rewards
/// for each model, all in the same order.
pub fn mean(models: &[Vec<f64>]) -> Result<Vec<f64>> {
    by_response(models, raw_mean)
}

/// The lowest reward that any model gives, response by response: what all models grant
/// (Coste et al. 2023, arXiv 2310.02743, "worst-case optimization").
pub fn minimum(models: &[Vec<f64>]) -> Result<Vec<f64>> {
    by_response(models, |rewards| {
        rewards.iter().copied().fold(f64::INFINITY, f64::min)
    })
}

/// The mean of z-scores: each model's rewards less their mean over all responses given, divided
/// by their standard deviation (divisor n - 1), then averaged over the models. Models of
/// different scales count alike.
///
/// # Errors
/// Fewer than two responses, or a model that gives all of them the same reward.
pub fn standardised_mean(models: &[Vec<f64>]) -> Result<Vec<f64>> {
    let standardised: Vec<Vec<f64>> = models
        .iter()
        .map(|rewards| z_scores(rewards))
        .collect::<Result<_>>()?;
    mean(&standardised)
}

fn z_scores(rewards: &[f64]) -> Result<Vec<f64>> {
    let spread = standard_deviation(rewards)?;
    if spread == 0.0 {
        return Err(Error::Undetermined {
            what: "standardised rewards",
            reason: "a model gives every response the same reward",
        });
    }
    let centre = raw_mean(rewards);
    Ok(rewards.iter().map(|r| (r - centre) / spread).collect())
}

fn by_response(models: &[Vec<f64>], one: impl Fn(&[f64]) -> f64) -> Result<Vec<f64>> {
    check_count("models", models.len(), 1)?;
    for rewards in models {
        check_parallel(
            ("the first model", models[0].len()),
            ("another model", rewards.len()),
        )?;
        check_finite("rewards", rewards, 0)?;
    }
    let of = |response: usize| -> Vec<f64> { models.iter().map(|m| m[response]).collect() };
    Ok((0..models[0].len()).map(|i| one(&of(i))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_by_hand() {
        let models = [vec![1.0, 3.0, 5.0], vec![20.0, 0.0, 10.0]];
        assert_eq!(mean(&models).unwrap(), [10.5, 1.5, 7.5]);
        assert_eq!(minimum(&models).unwrap(), [1.0, 0.0, 5.0]);
        // z-scores -1, 0, 1 (sd 2) and 1, -1, 0 (sd 10).
        assert_eq!(standardised_mean(&models).unwrap(), [0.0, -0.5, 0.5]);
        let scaled = [
            models[0].clone(),
            models[1].iter().map(|r| 7.0 * r - 3.0).collect(),
        ];
        for (a, b) in standardised_mean(&scaled)
            .unwrap()
            .iter()
            .zip([0.0, -0.5, 0.5])
        {
            assert!((a - b).abs() < 1e-12);
        }
        assert_eq!(mean(&models[..1]).unwrap(), models[0]);
    }

    #[test]
    fn undefined_is_an_error() {
        assert!(mean(&[]).is_err());
        assert!(minimum(&[vec![1.0], vec![1.0, 2.0]]).is_err());
        assert!(mean(&[vec![f64::NAN]]).is_err());
        assert!(standardised_mean(&[vec![1.0]]).is_err());
        assert!(standardised_mean(&[vec![1.0, 1.0]]).is_err());
    }
}
