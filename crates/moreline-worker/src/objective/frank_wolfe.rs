//! The published solver: Frank-Wolfe with exact line search.

use super::gram::Gram;
use super::weights::Weights;

/// When Frank-Wolfe stops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrankWolfe {
    /// Most steps taken.
    pub max_iterations: usize,
    /// Stop at a step that would change the weights by less than this (sum of absolute
    /// changes); that last step is not taken.
    pub tolerance: f64,
}

impl Default for FrankWolfe {
    /// The published choice: 1,000 steps, 1e-5.
    fn default() -> Self {
        Self {
            max_iterations: 1000,
            tolerance: 1e-5,
        }
    }
}

/// The weights as the published MORE code finds them (the solver of Sener and Koltun 2018,
/// arXiv 1810.04650, algorithm 2): start at the best point between two gradients, then step
/// towards the gradient with the least inner product with the combination. Every line search
/// that would end at or beyond an end of its segment keeps 0.001 of the other end. Two tasks
/// are solved by the start alone; a single task has weight 1.
pub fn frank_wolfe(gram: &Gram, settings: FrankWolfe) -> Weights {
    let size = gram.size();
    if size == 1 {
        return Weights::of(gram, vec![1.0], 0);
    }
    let mut lambda = best_pair(gram);
    if size == 2 {
        return Weights::of(gram, lambda, 0);
    }
    for step in 0..settings.max_iterations {
        let products = gram.products(&lambda);
        let squared: f64 = products.iter().zip(&lambda).map(|(p, l)| p * l).sum();
        let target = (1..size).fold(0, |t, i| if products[i] < products[t] { i } else { t });
        let keep = line_search(squared, products[target], gram.at(target, target)).0;
        let mut next: Vec<f64> = lambda.iter().map(|weight| keep * weight).collect();
        next[target] += 1.0 - keep;
        let change: f64 = next.iter().zip(&lambda).map(|(a, b)| (a - b).abs()).sum();
        if change < settings.tolerance {
            return Weights::of(gram, lambda, step);
        }
        lambda = next;
    }
    Weights::of(gram, lambda, settings.max_iterations)
}

/// Weights of the least point on any segment between two gradients.
fn best_pair(gram: &Gram) -> Vec<f64> {
    let mut best = (f64::INFINITY, 0, 0, 0.0);
    for i in 0..gram.size() {
        for j in i + 1..gram.size() {
            let (weight, cost) = line_search(gram.at(i, i), gram.at(i, j), gram.at(j, j));
            if cost < best.0 {
                best = (cost, i, j, weight);
            }
        }
    }
    let (_, i, j, weight) = best;
    let mut lambda = vec![0.0; gram.size()];
    lambda[i] = weight;
    lambda[j] = 1.0 - weight;
    lambda
}

/// The weight of `a` on the segment from `a` to `b` where the norm is least, clamped as
/// published, and the squared norm there; `aa`, `ab`, `bb` are inner products.
fn line_search(aa: f64, ab: f64, bb: f64) -> (f64, f64) {
    if ab >= aa {
        (0.999, aa)
    } else if ab >= bb {
        (0.001, bb)
    } else {
        let weight = (bb - ab) / (aa + bb - 2.0 * ab);
        (weight, bb + weight * (ab - bb))
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::{self, largest_difference};
    use super::super::gram::gram;
    use super::*;

    #[test]
    fn reproduces_the_published_weights() {
        for case in golden::cases() {
            let found = frank_wolfe(&case.gram, FrankWolfe::default());
            let difference = largest_difference(&found.lambda, &case.lambda);
            assert!(difference < 1e-6, "{}: {difference}", case.name);
            let norm = (found.squared_norm - case.squared_norm).abs();
            assert!(norm <= 1e-6, "{}: {norm}", case.name);
        }
    }

    #[test]
    fn ends_of_a_segment_are_clamped() {
        let one = gram(&[vec![1.0, 0.0], vec![2.0, 0.0]]).unwrap();
        assert_eq!(
            frank_wolfe(&one, FrankWolfe::default()).lambda,
            [0.999, 1.0 - 0.999]
        );
        let equal = gram(&[vec![1.0], vec![1.0], vec![1.0]]).unwrap();
        let found = frank_wolfe(&equal, FrankWolfe::default());
        assert!((found.lambda.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((found.squared_norm - 1.0).abs() < 1e-12);
        let single = gram(&[vec![3.0]]).unwrap();
        assert_eq!(frank_wolfe(&single, FrankWolfe::default()).lambda, [1.0]);
    }
}
