//! What the best of n responses is worth.

/// The expected maximum of `n` of the scores, drawn without replacement, for
/// every n from 1 to their number: exact, not sampled. With the scores sorted,
/// the i-th smallest of m is the maximum of n draws with probability
/// `C(i - 1, n - 1) / C(m, n)`.
pub fn expected_best(scores: &[f64]) -> Vec<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    (1..=count)
        .map(|n| {
            let mut probability = n as f64 / count as f64;
            let mut expected = 0.0;
            for i in (n..=count).rev() {
                expected += probability * sorted[i - 1];
                // From C(i - 1, n - 1) to C(i - 2, n - 1).
                probability *= (i - n) as f64 / (i as f64 - 1.0).max(1.0);
            }
            expected
        })
        .collect()
}

/// The mean over prompts of [`expected_best`], for n up to the fewest samples
/// a prompt has.
pub(crate) fn mean_expected_best(prompts: &[Vec<f64>]) -> Vec<f64> {
    let fewest = prompts.iter().map(Vec::len).min().unwrap_or(0);
    let mut sums = vec![0.0; fewest];
    for scores in prompts {
        for (sum, expected) in sums.iter_mut().zip(expected_best(scores)) {
            *sum += expected;
        }
    }
    sums.iter().map(|sum| sum / prompts.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The mean of the maximum over all subsets of n.
    fn by_enumeration(scores: &[f64], n: usize) -> f64 {
        let subsets = (0u32..1 << scores.len()).filter(|set| set.count_ones() as usize == n);
        let maxima: Vec<f64> = subsets
            .map(|set| {
                let chosen = (0..scores.len()).filter(|i| set >> i & 1 == 1);
                chosen.map(|i| scores[i]).fold(f64::NEG_INFINITY, f64::max)
            })
            .collect();
        maxima.iter().sum::<f64>() / maxima.len() as f64
    }

    #[test]
    fn the_ends_are_mean_and_maximum() {
        let three = expected_best(&[3.0, 1.0, 2.0]);
        let expected = [2.0, 8.0 / 3.0, 3.0];
        assert!(
            three
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
        assert_eq!(expected_best(&[5.0]), [5.0]);
        assert!(expected_best(&[]).is_empty());
        let mean = mean_expected_best(&[vec![0.0, 2.0, 4.0], vec![1.0, 1.0]]);
        assert_eq!(mean.len(), 2);
        assert!((mean[0] - 1.5).abs() < 1e-12);
        assert!((mean[1] - (10.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn it_equals_the_mean_over_all_subsets(scores in prop::collection::vec(-5.0..5.0f64, 1..9)) {
            for (at, expected) in expected_best(&scores).into_iter().enumerate() {
                prop_assert!((expected - by_enumeration(&scores, at + 1)).abs() < 1e-9);
            }
        }
    }
}
