//! Normalisation of the tasks' gradients before they are weighted.

use super::error::ObjectiveError;
use super::gram::Gram;

/// What each task's gradient `g` is divided by, `L` being the task's loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Normalize {
    /// Nothing: `g`.
    None,
    /// Its norm: `g / |g|`. A zero gradient stays zero.
    L2,
    /// The task's share of the losses, each shifted by one:
    /// `g (sum over tasks of (1 + L)) / (1 + L)`.
    Loss,
    /// Loss times norm: `g / (L |g|)`. A zero gradient stays zero; a loss under 1e-12 (all
    /// pairs certain) counts as 1e-12.
    LossPlus,
}

/// The least loss [`Normalize::LossPlus`] divides by.
const SMALLEST_LOSS: f64 = 1e-12;

/// The positive divisors `[K]` of gradients with these norms `[K]` and losses `[K]`. The formulas
/// are those of the published MORE code, recovered from its outputs.
///
/// # Errors
/// Different counts of norms and losses, none at all, or a loss that is negative or not finite.
pub fn denominators(
    norms: &[f64],
    losses: &[f64],
    normalize: Normalize,
) -> Result<Vec<f64>, ObjectiveError> {
    if norms.is_empty() {
        return Err(ObjectiveError::NoTasks);
    }
    if norms.len() != losses.len() {
        let (got, wanted) = (losses.len(), norms.len());
        return Err(ObjectiveError::Shape {
            what: "list of losses",
            index: 0,
            got,
            wanted,
        });
    }
    for (what, values) in [("gradient", norms), ("loss", losses)] {
        if let Some(task) = values.iter().position(|value| !value.is_finite()) {
            return Err(ObjectiveError::NotFinite { what, task });
        }
    }
    if let Some(task) = losses.iter().position(|loss| *loss < 0.0) {
        return Err(ObjectiveError::NegativeLoss { task });
    }
    let shifted: f64 = losses.iter().map(|loss| 1.0 + loss).sum();
    let divisor = |(&norm, &loss): (&f64, &f64)| match normalize {
        Normalize::None => 1.0,
        Normalize::Loss => (1.0 + loss) / shifted,
        Normalize::L2 | Normalize::LossPlus if norm == 0.0 => 1.0,
        Normalize::L2 => norm,
        Normalize::LossPlus => norm * loss.max(SMALLEST_LOSS),
    };
    Ok(norms.iter().zip(losses).map(divisor).collect())
}

/// The Gram matrix of the normalised gradients.
///
/// # Errors
/// As [`denominators`], or a quotient that is not finite.
pub fn normalized(
    gram: &Gram,
    losses: &[f64],
    normalize: Normalize,
) -> Result<Gram, ObjectiveError> {
    gram.divided(&denominators(&gram.norms(), losses, normalize)?)
}

#[cfg(test)]
mod tests {
    use super::super::gram::gram;
    use super::*;

    #[test]
    fn divisors_by_hand() {
        let found = |kind| denominators(&[2.0, 0.0, 4.0], &[0.5, 1.0, 0.0], kind).unwrap();
        assert_eq!(found(Normalize::None), [1.0, 1.0, 1.0]);
        assert_eq!(found(Normalize::L2), [2.0, 1.0, 4.0]);
        assert_eq!(found(Normalize::Loss), [1.5 / 4.5, 2.0 / 4.5, 1.0 / 4.5]);
        assert_eq!(found(Normalize::LossPlus), [1.0, 1.0, 4.0 * SMALLEST_LOSS]);
    }

    #[test]
    fn unit_norms_after_l2() {
        let grads = gram(&[vec![3.0, 4.0], vec![0.0, 0.0], vec![1e-9, 0.0]]).unwrap();
        let found = normalized(&grads, &[1.0; 3], Normalize::L2).unwrap();
        for (norm, wanted) in found.norms().iter().zip([1.0, 0.0, 1.0]) {
            assert!((norm - wanted).abs() < 1e-15);
        }
    }

    #[test]
    fn bad_losses_are_errors() {
        let found = |losses: &[f64]| denominators(&[1.0, 1.0], losses, Normalize::Loss);
        assert!(matches!(found(&[1.0]), Err(ObjectiveError::Shape { .. })));
        assert_eq!(
            found(&[1.0, -0.1]),
            Err(ObjectiveError::NegativeLoss { task: 1 })
        );
        assert!(matches!(
            found(&[f64::NAN, 1.0]),
            Err(ObjectiveError::NotFinite { task: 0, .. })
        ));
        assert_eq!(
            denominators(&[], &[], Normalize::None),
            Err(ObjectiveError::NoTasks)
        );
    }
}
