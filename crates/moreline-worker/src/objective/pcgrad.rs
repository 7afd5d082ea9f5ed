//! PCGrad: gradients that conflict are projected onto each other's normal plane.

use super::gram::Gram;
use super::weights::Weights;

/// Weights with which the tasks' gradients give PCGrad's combined gradient (Yu et al. 2020,
/// arXiv 2001.06782, algorithm 1), divided by their sum.
///
/// Each task's gradient loses, for every other task in the order `orders[task]`, its part
/// along that task's gradient where the two point apart. What is left, `g'_i`, is a
/// combination of the gradients, and so is the sum of all `g'_i`: it is known from their
/// inner products alone. Every projection adds `-(g'_i . g_j) / |g_j|²`, which is positive, to
/// the coefficient of `g_j`, and each task starts with 1 of its own gradient: no weight is
/// below zero, so that there is nothing to clip, and the sum is at least K.
///
/// The division by the sum makes the weights comparable with those of other methods: without
/// conflict each is 1/K, as `uniform` over tasks has it. The direction is PCGrad's, and the
/// step's length does not grow with the conflict.
///
/// A zero gradient conflicts with none. Entries of `orders` that are the task itself or no
/// task are passed over, and a task without an order is not projected.
pub fn pcgrad(gram: &Gram, orders: &[Vec<usize>]) -> Weights {
    let size = gram.size();
    let mut total = vec![0.0; size];
    let mut projections = 0;
    for task in 0..size {
        let mut own = vec![0.0; size];
        own[task] = 1.0;
        let order = orders.get(task).map_or(&[][..], Vec::as_slice);
        for &other in order.iter().filter(|&&other| other != task && other < size) {
            let product: f64 = (0..size).map(|k| own[k] * gram.at(k, other)).sum();
            if product < 0.0 && gram.at(other, other) > 0.0 {
                own[other] -= product / gram.at(other, other);
                projections += 1;
            }
        }
        for (sum, own) in total.iter_mut().zip(own) {
            *sum += own;
        }
    }
    let sum: f64 = total.iter().sum();
    let lambda = total.into_iter().map(|weight| weight / sum).collect();
    Weights::of(gram, lambda, projections)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::gram::gram;
    use super::*;

    /// Every task meets the others in ascending order.
    fn ascending(size: usize) -> Vec<Vec<usize>> {
        (0..size)
            .map(|task| (0..size).filter(|&other| other != task).collect())
            .collect()
    }

    fn solve(grads: &[Vec<f64>], orders: &[Vec<usize>]) -> Vec<f64> {
        pcgrad(&gram(grads).unwrap(), orders).lambda
    }

    fn assert_close(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (a, b) in found.iter().zip(wanted) {
            assert!((a - b).abs() < 1e-14, "{found:?} is not {wanted:?}");
        }
    }

    #[test]
    fn gradients_that_do_not_conflict_weigh_the_same() {
        let orders = ascending(2);
        assert_eq!(solve(&[vec![2.0, 1.0]], &[vec![]]), [1.0]);
        assert_eq!(
            solve(&[vec![1.0, 0.0], vec![0.0, 3.0]], &orders),
            [0.5, 0.5]
        );
        assert_eq!(
            solve(&[vec![1.0, 2.0], vec![1.0, 2.0]], &orders),
            [0.5, 0.5]
        );
        assert_eq!(
            solve(&[vec![1.0, 0.0], vec![0.5, 3.0]], &orders),
            [0.5, 0.5]
        );
        assert_eq!(
            solve(&[vec![0.0], vec![-3.0], vec![0.0]], &ascending(3)),
            [1.0 / 3.0; 3]
        );
    }

    /// a = (1, 0), b = (-1, 1): a' = a + b/2, b' = b + a. Coefficients 2 and 3/2.
    #[test]
    fn two_that_conflict_by_hand() {
        let found = solve(&[vec![1.0, 0.0], vec![-1.0, 1.0]], &ascending(2));
        assert_close(&found, &[4.0 / 7.0, 3.0 / 7.0]);
        // Opposed: a' = a + b = 0 and b' = 0; any equal weights give zero.
        let opposed = pcgrad(&gram(&[vec![1.0], vec![-1.0]]).unwrap(), &ascending(2));
        assert_eq!(
            (opposed.lambda, opposed.squared_norm),
            (vec![0.5, 0.5], 0.0)
        );
        // a = 2, b = -1: a' = a + 2b, b' = b + a/2.
        let lengths = solve(&[vec![2.0], vec![-1.0]], &ascending(2));
        assert_close(&lengths, &[1.5 / 4.5, 3.0 / 4.5]);
    }

    /// a = (1, 0), b = (-1, 1), c = (0, -1).
    ///
    /// * a, against b then c: a.b = -1, |b|² = 2: (1/2, 1/2); with c -1/2: + c/2 = (1/2, 0).
    /// * b, against a then c: + a = (0, 1); with c -1: + c = 0.
    /// * c, against a then b: c.a = 0; c.b = -1: + b/2 = (-1/2, -1/2).
    ///
    /// a: 1 + 1 = 2, b: 1/2 + 1 + 1/2 = 2, c: 1/2 + 1 + 1 = 5/2.
    #[test]
    fn three_in_a_fixed_order_by_hand() {
        let grads = [vec![1.0, 0.0], vec![-1.0, 1.0], vec![0.0, -1.0]];
        let found = pcgrad(&gram(&grads).unwrap(), &ascending(3));
        assert_close(&found.lambda, &[2.0 / 6.5, 2.0 / 6.5, 2.5 / 6.5]);
        assert_eq!(found.iterations, 5);
        // a, against c then b: a.c = 0, then + b/2, which now conflicts with c unseen: c loses 1/2.
        let orders = [vec![2, 1], vec![0, 2], vec![0, 1]];
        assert_close(&solve(&grads, &orders), &[2.0 / 6.0, 2.0 / 6.0, 2.0 / 6.0]);
    }

    /// The algorithm on the vectors themselves.
    fn on_vectors(grads: &[Vec<f64>], orders: &[Vec<usize>]) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut sum = vec![0.0; grads[0].len()];
        for (task, order) in orders.iter().enumerate() {
            let mut own = grads[task].clone();
            for &other in order {
                let (product, squared) =
                    (dot(&own, &grads[other]), dot(&grads[other], &grads[other]));
                if product < 0.0 && squared > 0.0 {
                    for (own, other) in own.iter_mut().zip(&grads[other]) {
                        *own -= product / squared * other;
                    }
                }
            }
            for (sum, own) in sum.iter_mut().zip(own) {
                *sum += own;
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn the_combination_is_that_of_the_vectors(
            grads in (1usize..7, 2usize..6).prop_flat_map(|(length, size)| {
                prop::collection::vec(prop::collection::vec(-2.0..2.0_f64, length), size)
            }),
            turn in 0usize..6,
        ) {
            let size = grads.len();
            let orders: Vec<Vec<usize>> = (0..size)
                .map(|task| (1..size).map(|step| (task + step + turn) % size).filter(|&o| o != task).collect())
                .collect();
            let gram = gram(&grads).unwrap();
            let found = pcgrad(&gram, &orders);
            prop_assert!(found.lambda.iter().all(|weight| *weight > 0.0));
            prop_assert!((found.lambda.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let wanted = on_vectors(&grads, &orders);
            let combined: Vec<f64> = (0..grads[0].len())
                .map(|i| (0..size).map(|k| found.lambda[k] * grads[k][i]).sum())
                .collect();
            // Same direction: the vectors are parallel.
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (ab, aa, bb) = (dot(&combined, &wanted), dot(&combined, &combined), dot(&wanted, &wanted));
            prop_assume!(bb > 1e-6 && aa > 1e-6);
            prop_assert!((ab / (aa * bb).sqrt() - 1.0).abs() < 1e-6, "{combined:?} {wanted:?}");
        }
    }
}
