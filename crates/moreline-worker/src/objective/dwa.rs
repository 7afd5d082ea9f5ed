//! Dynamic weight averaging: weights from how fast the tasks' losses fall.

/// The least loss that is divided by; pairs may all be certain.
const SMALLEST_LOSS: f64 = 1e-12;

/// Mean losses of a task in the last two whole windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descent {
    /// In the last window.
    pub last: f64,
    /// In the one before.
    pub before: f64,
}

/// Weights of the tasks, sum 1: the softmax of `last / before / temperature` (Liu, Johns and
/// Davison 2019, arXiv 1803.10704, equation 7, without its factor K). A task without two
/// windows yet counts as one whose loss stays (ratio 1, as the paper starts).
pub fn dwa(tasks: &[Option<Descent>], temperature: f64) -> Vec<f64> {
    let ratio = |task: &Option<Descent>| {
        task.map_or(1.0, |task| task.last / task.before.max(SMALLEST_LOSS))
    };
    let scaled: Vec<f64> = tasks.iter().map(|task| ratio(task) / temperature).collect();
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scaled.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(before: f64, last: f64) -> Option<Descent> {
        Some(Descent { last, before })
    }

    #[test]
    fn by_hand() {
        // Ratios 1 and 1/2, temperature 2: e^(1/2) and e^(1/4).
        let found = dwa(&[task(0.6, 0.6), task(0.8, 0.4)], 2.0);
        let wanted = 1.0 / (1.0 + (-0.25f64).exp());
        assert!((found[0] - wanted).abs() < 1e-15);
        assert!((found[0] + found[1] - 1.0).abs() < 1e-15);
        // One and a half times the loss against a third of it, temperature 1.
        let found = dwa(&[task(0.2, 0.3), task(0.6, 0.2), task(1.0, 1.0)], 1.0);
        let powers = [1.5f64.exp(), (1.0f64 / 3.0).exp(), 1.0f64.exp()];
        for (found, power) in found.iter().zip(powers) {
            assert!((found - power / powers.iter().sum::<f64>()).abs() < 1e-15);
        }
    }

    #[test]
    fn equal_ratios_weigh_the_same_whatever_the_losses() {
        assert_eq!(dwa(&[task(4.0, 2.0), task(0.5, 0.25)], 2.0), [0.5, 0.5]);
        assert_eq!(dwa(&[None, None, None, None], 2.0), [0.25; 4]);
        assert_eq!(dwa(&[None, task(0.7, 0.7)], 2.0), [0.5, 0.5]);
        assert_eq!(dwa(&[task(1.0, 0.1)], 2.0), [1.0]);
    }

    #[test]
    fn certain_pairs_neither_divide_by_zero_nor_overflow() {
        assert_eq!(dwa(&[task(0.0, 1.0), task(0.7, 0.7)], 2.0), [1.0, 0.0]);
        assert_eq!(dwa(&[task(0.0, 0.0), task(1.0, 0.0)], 2.0), [0.5, 0.5]);
    }
}
