//! The logistic function and its logarithm, without overflow or cancellation.

/// The logistic function `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(sigmoid(x))`, in nats: `-ln(1 + exp(-x))`, or `x - ln(1 + exp(x))` for negative `x`.
pub fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tails_are_exact() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(log_sigmoid(0.0), -std::f64::consts::LN_2);
        assert_eq!(log_sigmoid(-800.0), -800.0);
        assert!((log_sigmoid(40.0) + (-40f64).exp()).abs() < 1e-30);
        assert_eq!(sigmoid(-800.0), 0.0);
        assert_eq!(sigmoid(800.0), 1.0);
        assert!((sigmoid(-30.0) - (-30f64).exp()).abs() < 1e-25);
        assert!((log_sigmoid(1.3) - sigmoid(1.3).ln()).abs() < 1e-15);
    }
}
