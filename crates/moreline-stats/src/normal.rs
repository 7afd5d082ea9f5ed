//! The standard normal distribution, as far as intervals need it.

/// The distribution function, by the series of Marsaglia ("Evaluating the normal
/// distribution", 2004): `1/2 + phi(x) (x + x^3/3 + x^5/15 + ...)`; exact to about 1e-16.
pub(crate) fn cdf(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut i) = (x, x, 1.0);
    while term.abs() > f64::EPSILON * 1e-3 * sum.abs() {
        i += 2.0;
        term *= x * x / i;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The two-sided quantile of a level: the `z` with `P(|Z| <= z) = level`, level in (0, 1).
pub(crate) fn two_sided_quantile(level: f64) -> f64 {
    let target = 0.5 + level / 2.0;
    let (mut low, mut high) = (0.0, 8.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if cdf(middle) < target {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert!((cdf(1.0) - 0.841_344_746_068_542_9).abs() < 1e-15);
        assert!((cdf(-2.0) - 0.022_750_131_948_179_2).abs() < 1e-15);
        assert_eq!(cdf(0.0), 0.5);
        assert!((two_sided_quantile(0.95) - 1.959_963_984_540_054).abs() < 1e-12);
        assert!((two_sided_quantile(0.5) - 0.674_489_750_196_081_7).abs() < 1e-12);
    }
}
