use proptest::prelude::*;

use super::*;

fn sampling(temperature: f64, top_k: usize, top_p: f64) -> Sampling {
    Sampling {
        temperature,
        top_p,
        top_k,
    }
}

/// Probabilities by the definition: softmax at the temperature, then the k
/// likeliest renormalised, then the smallest set that reaches p renormalised.
fn naive(logits: &[f32], how: Sampling) -> Vec<f64> {
    let weight = |&l: &f32| ((f64::from(l) - f64::from(largest(logits))) / how.temperature).exp();
    let weights: Vec<f64> = logits.iter().map(weight).collect();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    if how.top_k > 0 {
        order.truncate(how.top_k);
    }
    let total: f64 = order.iter().map(|&i| weights[i]).sum();
    let mut kept = vec![0.0; logits.len()];
    let mut sum = 0.0;
    for i in order {
        kept[i] = weights[i];
        sum += weights[i];
        if how.top_p < 1.0 && sum >= how.top_p * total {
            break;
        }
    }
    kept.iter().map(|w| w / sum).collect()
}

fn logits_of(probabilities: &[f64]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln() as f32).collect()
}

#[test]
fn greedy_takes_the_lowest_id_among_equals() {
    let choice = Sampling::GREEDY
        .choose(&[0.0, 3.0, 1.0, 3.0], 0.999)
        .unwrap();
    assert_eq!(choice.token, 1);
    let z = (1.0 + 2.0 * 3f64.exp() + 1f64.exp()).ln();
    assert!((choice.logprob - (3.0 - z)).abs() < 1e-6);
}

#[test]
fn the_log_probability_ignores_temperature_and_filters() {
    let logits = logits_of(&[0.5, 0.3, 0.2]);
    for how in [
        sampling(0.3, 2, 0.9),
        sampling(2.0, 0, 1.0),
        sampling(1.0, 0, 0.6),
    ] {
        for uniform in [0.0, 0.45, 0.99] {
            let choice = how.choose(&logits, uniform).unwrap();
            let expected = [0.5f64, 0.3, 0.2][choice.token as usize].ln();
            assert!((choice.logprob - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn logits_that_are_not_numbers_are_refused() {
    let how = sampling(0.8, 5, 0.9);
    for bad in [f32::NAN, f32::INFINITY] {
        assert_eq!(how.choose(&[0.0, bad, 1.0], 0.5), None);
        assert_eq!(Sampling::GREEDY.choose(&[0.0, bad, 1.0], 0.5), None);
    }
    assert_eq!(how.choose(&[f32::NEG_INFINITY; 3], 0.5), None);
    let masked = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY];
    for how in [how, sampling(1.0, 0, 1.0), sampling(1e-40, 0, 1.0)] {
        assert_eq!(how.choose(&masked, 0.999_999).unwrap().token, 1);
    }
}

/// Draws by the real source of uniform numbers follow the closed form. The
/// chi-square bound is the 99.9 % point; the seed is fixed.
#[test]
fn draws_follow_the_distribution() {
    let logits: Vec<f32> = [2.0, 0.5, -1.0, 1.5, 0.0, -0.5, 1.0, 0.25, -2.0, 1.25].to_vec();
    let draws = 100_000u32;
    let settings = [
        (1.0, 0, 1.0),
        (0.7, 0, 1.0),
        (1.0, 4, 1.0),
        (1.3, 0, 0.8),
        (0.9, 6, 0.7),
    ];
    for (temperature, top_k, top_p) in settings {
        let how = sampling(temperature, top_k, top_p);
        let mut uniforms = Uniforms::new(7, &[1, 2, 3], 0, 0);
        let mut counts = [0u32; 10];
        for _ in 0..draws {
            counts[how.choose(&logits, uniforms.draw()).unwrap().token as usize] += 1;
        }
        let mut statistic = 0.0;
        for (&count, probability) in counts.iter().zip(naive(&logits, how)) {
            let expected = probability * f64::from(draws);
            if expected == 0.0 {
                assert_eq!(count, 0, "a token outside the set was drawn");
                continue;
            }
            statistic += (f64::from(count) - expected).powi(2) / expected;
        }
        assert!(statistic < 27.88, "{how:?}: {statistic}");
    }
}

#[test]
fn a_large_vocabulary_is_inverted_across_blocks() {
    let logits: Vec<f32> = (0..5000u32)
        .map(|i| (i * 7919 % 97) as f32 / 20.0)
        .collect();
    let how = sampling(1.5, 0, 1.0);
    let probabilities = naive(&logits, how);
    for i in 0..400 {
        let uniform = (f64::from(i) + 0.5) / 400.0;
        let token = how.choose(&logits, uniform).unwrap().token as usize;
        let below: f64 = probabilities[..token].iter().sum();
        assert!(below - 1e-6 <= uniform && uniform <= below + probabilities[token] + 1e-6);
    }
}

#[test]
fn uniform_numbers_depend_on_every_argument() {
    let first = |seed, prompt: &[u32], occurrence, sample| {
        Uniforms::new(seed, prompt, occurrence, sample).draw()
    };
    let base = first(1, &[5, 6], 0, 0);
    assert_eq!(base, first(1, &[5, 6], 0, 0));
    for other in [
        first(2, &[5, 6], 0, 0),
        first(1, &[5, 7], 0, 0),
        first(1, &[5], 0, 0),
        first(1, &[5, 6], 1, 0),
        first(1, &[5, 6], 0, 1),
    ] {
        assert_ne!(base, other);
    }
}

proptest! {
    #[test]
    fn sets_are_those_of_the_definition(
        logits in prop::collection::vec(-12i32..12, 1..300),
        temperature in 0.2f64..3.0,
        top_k in 0usize..40,
        top_p in 0.01f64..1.0,
    ) {
        // Multiples of a half: many ties, which the definition orders by id.
        let logits: Vec<f32> = logits.into_iter().map(|l| l as f32 / 2.0).collect();
        for how in [
            sampling(temperature, top_k, 1.0),
            sampling(temperature, 0, top_p),
            sampling(temperature, top_k, top_p),
        ] {
            let candidates = how.candidates(&logits);
            let total: f64 = candidates.iter().map(|(_, w)| w).sum();
            let mut found = vec![0.0; logits.len()];
            for (id, weight) in candidates {
                found[id as usize] = weight / total;
            }
            for (ours, expected) in found.iter().zip(naive(&logits, how)) {
                prop_assert!((ours - expected).abs() < 1e-12);
                prop_assert_eq!(*ours > 0.0, expected > 0.0);
            }
        }
    }

    #[test]
    fn a_choice_is_always_a_candidate(
        logits in prop::collection::vec(-40f32..40.0, 1..3000),
        temperature in 0.05f64..4.0,
        top_p in 0.05f64..1.0,
        uniform in 0f64..1.0,
    ) {
        let how = sampling(temperature, 0, top_p);
        let choice = how.choose(&logits, uniform).unwrap();
        prop_assert!(how.candidates(&logits).iter().any(|&(id, _)| id == choice.token));
        prop_assert!(choice.logprob <= 1e-6);
    }
}
