//! Data to pixels, and where the ticks go.

/// The smallest of 1, 2, 5 times a power of ten that is at least `value`; 1 if
/// that has no meaning.
pub(in super::super) fn nice_step(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    // A little slack: 0.3 / 3 must give 0.1, not 0.2.
    let fits = |factor: &&f64| **factor * power >= value * (1.0 - 1e-9);
    factors.iter().find(fits).unwrap_or(&10.0) * power
}

/// A linear scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    /// Between ticks, once the range was widened to them.
    step: Option<f64>,
}

impl Scale {
    /// Maps `low..high` to the pixels `from..to`. A range that is empty or not
    /// finite becomes one around its start.
    pub(super) fn new((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        let (low, high) = match (low.is_finite(), high.is_finite()) {
            (true, true) if high > low => (low, high),
            (true, _) => (low - 0.5, low + 0.5),
            _ => (0.0, 1.0),
        };
        Self {
            low,
            high,
            from,
            to,
            step: None,
        }
    }

    /// The same with its range widened to ticks.
    pub(super) fn nice(self, ticks: usize) -> Self {
        let step = nice_step((self.high - self.low) / ticks as f64);
        Self {
            low: (self.low / step).floor() * step,
            high: (self.high / step).ceil() * step,
            step: Some(step),
            ..self
        }
    }

    /// The pixel of a value, kept within the scale.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if value.is_finite() { value } else { self.low };
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    pub(super) fn contains(&self, value: f64) -> bool {
        value >= self.low && value <= self.high
    }

    pub(super) fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    pub(super) fn pixels(&self) -> (f64, f64) {
        (self.from, self.to)
    }

    /// About so many round values within the range, or those it was widened to,
    /// and the decimals they need.
    pub(super) fn ticks(&self, about: usize) -> (Vec<f64>, usize) {
        let wanted = nice_step((self.high - self.low) / about.max(1) as f64);
        let step = self.step.unwrap_or(wanted);
        let slack = 1e-6;
        let first = (self.low / step - slack).ceil() as i64;
        let last = (self.high / step + slack).floor() as i64;
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        ((first..=last).map(|i| i as f64 * step).collect(), decimals)
    }
}

/// The range of values, or `None` without any.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values = values.filter(|v| v.is_finite());
    values.fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (value, step) in [
            (0.1, 0.1),
            (0.11, 0.2),
            (0.3 / 3.0, 0.1),
            (37.0, 50.0),
            (70.0, 100.0),
        ] {
            assert!((nice_step(value) - step).abs() < 1e-9 * step, "{value}");
        }
        assert_eq!(nice_step(f64::NAN), 1.0);
        assert_eq!(nice_step(0.0), 1.0);
    }

    #[test]
    fn ticks_lie_within_the_range() {
        let (ticks, decimals) = Scale::new((0.37, 0.81), (0.0, 100.0)).ticks(5);
        assert_eq!(decimals, 1);
        assert_eq!(ticks.len(), 5, "{ticks:?}");
        assert!((ticks[0] - 0.4).abs() < 1e-12 && (ticks[4] - 0.8).abs() < 1e-12);
    }

    #[test]
    fn degenerate_ranges_still_map() {
        let scale = Scale::new((2.0, 2.0), (0.0, 10.0));
        assert_eq!(scale.at(2.0), 5.0);
        let scale = Scale::new((f64::NAN, 1.0), (0.0, 10.0));
        assert!(scale.at(f64::INFINITY).is_finite());
    }
}
