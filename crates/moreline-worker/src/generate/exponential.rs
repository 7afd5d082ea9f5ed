//! Sums of exponentials over a vocabulary.
//!
//! Written so that the compiler vectorises them: with the standard library's
//! `exp` they would cost a good part of a decode step.

/// Logits per partial sum of [`exp_sums`].
pub(super) const BLOCK: usize = 1024;

/// Additions done side by side, in an order that is the same on any machine.
const LANES: usize = 8;

/// Adding it rounds to an integer, held in the low bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2, cut so that a small integer times it is exact, and the rest.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Below it e^x is no normal fp32 number.
const SMALLEST: f32 = -87.0;

/// 1 / n! from n = 7 down.
const TAYLOR: [f32; 8] = [
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// e^x for x <= 0 within 3e-7 of itself; 0 below e^-87, NaN for NaN. The
/// exponent is split off and the rest, at most ln 2 / 2, goes through the
/// Taylor polynomial.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let clamped = if x < SMALLEST { SMALLEST } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = (clamped - power * LN_2_HIGH) - power * LN_2_LOW;
    let mut value = TAYLOR[0];
    for coefficient in &TAYLOR[1..] {
        value = value * rest + coefficient;
    }
    let two = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < SMALLEST { 0.0 } else { value * two }
}

/// The largest logit; NaNs are passed over.
pub(super) fn largest(logits: &[f32]) -> f32 {
    let larger = |max: f32, logit: f32| if logit > max { logit } else { max };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, logit);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |max, &logit| larger(max, logit))
}

/// Sums of `exp((logit - max) * scale)` over each [`BLOCK`] logits, within 1e-6
/// of themselves. Not a number if a logit is none or plus infinity.
pub(super) fn exp_sums(logits: &[f32], max: f32, scale: f64) -> Vec<f64> {
    logits
        .chunks(BLOCK)
        .map(|block| exp_sum(block, max, scale as f32))
        .collect()
}

fn exp_sum(block: &[f32], max: f32, scale: f32) -> f64 {
    let mut terms = [0.0f32; BLOCK];
    for (term, &logit) in terms.iter_mut().zip(block) {
        *term = exp((logit - max) * scale);
    }
    let mut lanes = [0.0f64; LANES];
    for chunk in terms.chunks_exact(LANES) {
        for (lane, &term) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(term);
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-87.5), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
        for i in 0..870_000u32 {
            let x = -(i as f32) * 0.000_1;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7, "{x}: {error}");
        }
    }

    #[test]
    fn sums_agree_with_plain_ones() {
        let logits: Vec<f32> = (0..2500u32).map(|i| (i * 37 % 101) as f32 / 7.0).collect();
        let max = largest(&logits);
        assert_eq!(max, 100.0 / 7.0);
        let sums = exp_sums(&logits, max, 0.7);
        assert_eq!(sums.len(), 3);
        for (sum, block) in sums.iter().zip(logits.chunks(BLOCK)) {
            let terms = block.iter().map(|&l| (f64::from(l - max) * 0.7).exp());
            assert!((sum / terms.sum::<f64>() - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn what_is_not_a_number_shows_in_the_sum() {
        for bad in [f32::NAN, f32::INFINITY] {
            let logits = [1.0, bad, 2.0];
            let total: f64 = exp_sums(&logits, largest(&logits), 1.0).iter().sum();
            assert!(!total.is_finite());
        }
    }
}
