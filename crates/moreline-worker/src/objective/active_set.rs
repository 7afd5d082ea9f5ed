//! Wolfe's active-set method.

use super::gram::Gram;
use super::min_norm::{least, rounding};

/// Wolfe's method: the current point is the least of the affine hull of the active gradients,
/// all of whose weights are positive.
pub(super) struct ActiveSet<'a> {
    gram: &'a Gram,
    lambda: Vec<f64>,
    active: Vec<usize>,
}

impl<'a> ActiveSet<'a> {
    /// Starts at the shortest gradient.
    pub(super) fn start(gram: &'a Gram) -> Self {
        let norms = gram.norms();
        let first = least(&norms);
        let mut lambda = vec![0.0; gram.size()];
        lambda[first] = 1.0;
        Self {
            gram,
            lambda,
            active: vec![first],
        }
    }

    /// Moves to the optimum, or as near as the active sets stay independent; returns the
    /// weights and the steps taken.
    pub(super) fn solve(mut self) -> (Vec<f64>, usize) {
        let limit = 20 * self.gram.size();
        let mut squared = self.gram.squared_norm(&self.lambda);
        for step in 0..limit {
            let products = self.gram.products(&self.lambda);
            let entering = least(&products);
            let gap = squared - products[entering];
            let settled = gap <= rounding(self.gram, &self.lambda, entering);
            if settled || self.active.contains(&entering) {
                return (self.lambda, step);
            }
            let before = (self.lambda.clone(), self.active.clone());
            self.active.push(entering);
            let moved = self.descend().is_some();
            let next = self.gram.squared_norm(&self.lambda);
            if !moved || next > squared {
                (self.lambda, self.active) = before;
                return (self.lambda, step);
            }
            squared = next;
        }
        (self.lambda, limit)
    }

    /// Goes to the least point of the active affine hull, dropping gradients whose weights
    /// would turn negative on the way. `None` where the active gradients are dependent.
    fn descend(&mut self) -> Option<()> {
        loop {
            let target = affine_minimum(self.gram, &self.active)?;
            let ratio = |(&i, &wanted): (&usize, &f64)| {
                (wanted <= 0.0).then(|| self.lambda[i] / (self.lambda[i] - wanted))
            };
            let ratios: Vec<Option<f64>> = self.active.iter().zip(&target).map(ratio).collect();
            let step = ratios.iter().flatten().fold(1.0, |a: f64, b| a.min(*b));
            for (&i, wanted) in self.active.iter().zip(&target) {
                self.lambda[i] += step * (wanted - self.lambda[i]);
            }
            if ratios.iter().all(Option::is_none) {
                return Some(());
            }
            let mut kept = Vec::new();
            for (&i, ratio) in self.active.iter().zip(&ratios) {
                if ratio.is_some_and(|ratio| ratio <= step) || self.lambda[i] <= 0.0 {
                    self.lambda[i] = 0.0;
                } else {
                    kept.push(i);
                }
            }
            self.active = kept;
            if self.active.is_empty() {
                return None;
            }
        }
    }
}

/// Weights (of any sign, sum 1) of the least point of the affine hull of the `active`
/// gradients: with `c > 0`, `(G + c 11ᵀ) u = 1` and the weights are `u` over its sum. `c` is
/// the shortest active gradient's squared norm, so that long ones do not drown it.
fn affine_minimum(gram: &Gram, active: &[usize]) -> Option<Vec<f64>> {
    let n = active.len();
    let shift = active
        .iter()
        .map(|&i| gram.at(i, i))
        .fold(f64::INFINITY, f64::min);
    let matrix = |row: usize, column: usize| gram.at(active[row], active[column]) + shift;
    // Cholesky factor, row by row.
    let mut factor = vec![vec![0.0_f64; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest = matrix(i, j) - inner;
            if i > j {
                factor[i][j] = rest / factor[j][j];
            } else if rest > 4.0 * n as f64 * f64::EPSILON * matrix(i, i) {
                factor[i][i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    let mut solution = vec![1.0; n];
    for i in 0..n {
        let inner: f64 = (0..i).map(|k| factor[i][k] * solution[k]).sum();
        solution[i] = (solution[i] - inner) / factor[i][i];
    }
    for i in (0..n).rev() {
        let inner: f64 = (i + 1..n).map(|k| factor[k][i] * solution[k]).sum();
        solution[i] = (solution[i] - inner) / factor[i][i];
    }
    let sum: f64 = solution.iter().sum();
    let weights: Vec<f64> = solution.iter().map(|value| value / sum).collect();
    weights
        .iter()
        .all(|weight| weight.is_finite())
        .then_some(weights)
}
