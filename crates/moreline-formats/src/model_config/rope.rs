//! Rotary position embedding: which frequencies, over how much of a head.

use std::f64::consts::PI;

/// Rotary positions of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The base of the geometric series of frequencies.
    pub theta: f64,
    /// How many leading dimensions of a head are rotated (even, at most `head_dim`).
    pub dims: usize,
    /// How frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// A change to the rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// None.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3: long wavelengths divided, short ones kept, a ramp in between.
    Llama3 {
        /// The divisor of long wavelengths.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context length before stretching.
        original_max_positions: usize,
    },
}

impl Rope {
    /// The `dims / 2` angular frequencies in radians per position, scaling applied, in the order of
    /// the pairs. Rotation pairs dimension `i` with `i + dims / 2` (Hugging Face's layout).
    pub fn inverse_frequencies(&self) -> Vec<f64> {
        let half = self.dims / 2;
        let base = |i: usize| self.theta.powf(-((2 * i) as f64) / self.dims as f64);
        (0..half).map(|i| self.scaling.apply(base(i))).collect()
    }
}

impl RopeScaling {
    /// The scaled frequency. For Llama 3 the formula of transformers' `_compute_llama3_parameters`:
    /// between the two wavelengths the divided and the kept frequency are mixed linearly in
    /// `original_max_positions / wavelength`.
    pub fn apply(&self, frequency: f64) -> f64 {
        match *self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => {
                let turns = original_max_positions as f64 * frequency / (2.0 * PI);
                let span = high_freq_factor - low_freq_factor;
                let smooth = ((turns - low_freq_factor) / span).clamp(0.0, 1.0);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_frequencies_are_a_geometric_series() {
        let rope = Rope {
            theta: 10000.0,
            dims: 8,
            scaling: RopeScaling::None,
        };
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (got, want) in rope.inverse_frequencies().iter().zip(expected) {
            assert!((got - want).abs() < 1e-12);
        }
    }

    #[test]
    fn linear_scaling_divides() {
        let rope = Rope {
            theta: 1e4,
            dims: 4,
            scaling: RopeScaling::Linear { factor: 4.0 },
        };
        assert_eq!(rope.inverse_frequencies(), vec![0.25, 0.0025]);
    }

    #[test]
    fn llama3_scaling_keeps_short_waves_divides_long_ones_and_mixes_between() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 64,
        };
        // Wavelengths: 2 pi (kept: < 16), 628 (divided: > 64), 32 (64/32 = 2, a third of the way).
        assert_eq!(scaling.apply(1.0), 1.0);
        assert_eq!(scaling.apply(0.01), 0.01 / 8.0);
        let frequency = 2.0 * PI / 32.0;
        let expected = (2.0 / 3.0) * frequency / 8.0 + frequency / 3.0;
        assert!((scaling.apply(frequency) - expected).abs() < 1e-15);
    }
}
