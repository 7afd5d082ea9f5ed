//! Learning rates.

use moreline_protocol::spec::Schedule;

/// The learning rate of step `step` (from 0) of `total`: linear warm-up over
/// the first `warmup_ratio` of the steps (rounded up), then the schedule,
/// which would reach its end one step after the last.
pub fn learning_rate(
    schedule: Schedule,
    peak: f64,
    warmup_ratio: f64,
    step: u64,
    total: u64,
) -> f64 {
    let warmup = (warmup_ratio * total as f64).ceil() as u64;
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let span = total.saturating_sub(warmup).max(1);
    let progress = ((step - warmup) as f64 / span as f64).min(1.0);
    match schedule {
        Schedule::Constant => peak,
        Schedule::Linear => peak * (1.0 - progress),
        Schedule::Cosine => peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_then_cosine() {
        let lr = |step| learning_rate(Schedule::Cosine, 1.0, 0.1, step, 20);
        assert_eq!(lr(0), 0.5);
        assert_eq!(lr(1), 1.0);
        assert_eq!(lr(2), 1.0);
        assert!((lr(11) - 0.5).abs() < 1e-12);
        assert!(lr(19) > 0.0 && lr(19) < 0.01);
    }

    #[test]
    fn linear_and_constant() {
        assert_eq!(learning_rate(Schedule::Linear, 2.0, 0.0, 5, 10), 1.0);
        assert_eq!(learning_rate(Schedule::Constant, 2.0, 0.0, 9, 10), 2.0);
    }
}
