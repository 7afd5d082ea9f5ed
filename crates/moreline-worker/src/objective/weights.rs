//! Weights of the tasks.

use super::gram::Gram;

/// A convex combination of K gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// One weight per task `[K]`: none negative, sum 1.
    pub lambda: Vec<f64>,
    /// The squared norm of the combination.
    pub squared_norm: f64,
    /// Steps the solver took (0 for a closed form).
    pub iterations: usize,
}

impl Weights {
    /// Weights with the norm they reach on `gram`.
    pub(super) fn of(gram: &Gram, lambda: Vec<f64>, iterations: usize) -> Self {
        let squared_norm = gram.squared_norm(&lambda);
        Self {
            lambda,
            squared_norm,
            iterations,
        }
    }
}
