//! Numbers as people read them.

/// Stands for a number that is missing or not finite.
pub(super) const NONE: &str = "–";

/// With so many decimals and a true minus sign.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    let text = format!("{value:.decimals$}");
    let is_zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
    match text.strip_prefix('-') {
        Some(rest) if is_zero => rest.into(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// With so many decimals, or a dash.
pub(super) fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| NONE.into(), |v| fixed(v, decimals))
}

/// A share as a percentage with one decimal.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{} %", fixed(100.0 * share, 1))
    } else {
        NONE.into()
    }
}

/// A share as a percentage, or a dash.
pub(super) fn optional_percent(share: Option<f64>) -> String {
    share.map_or_else(|| NONE.into(), percent)
}

/// `64.5 % [59.8, 69.2]`; the interval is left out if an end is missing.
pub(super) fn percent_interval(share: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    match (share, low, high) {
        (Some(share), Some(low), Some(high)) => format!(
            "{} [{}, {}]",
            percent(share),
            fixed(100.0 * low, 1),
            fixed(100.0 * high, 1)
        ),
        (share, ..) => optional_percent(share),
    }
}

/// `0.042 [0.014, 0.071]`, or the value alone.
pub(super) fn with_interval(value: f64, bounds: Option<(f64, f64)>, decimals: usize) -> String {
    let shown = fixed(value, decimals);
    match bounds {
        None => shown,
        Some((low, high)) => {
            let [low, high] = [low, high].map(|bound| fixed(bound, decimals));
            format!("{shown} [{low}, {high}]")
        }
    }
}

/// A difference of shares in percentage points with its interval: `+1.2 [−0.5, 2.9]`.
pub(super) fn points_interval(difference: f64, low: f64, high: f64) -> String {
    let points = fixed(100.0 * difference, 1);
    let sign = match points.starts_with('−') || points == NONE || points == "0.0" {
        true => "",
        false => "+",
    };
    let [low, high] = [low, high].map(|bound| fixed(100.0 * bound, 1));
    format!("{sign}{points} [{low}, {high}]")
}

/// A p value: `0.031`, or `< 0.001`.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 {
        return "< 0.001".into();
    }
    fixed(p, 3)
}

/// A whole number with commas between thousands.
pub(super) fn count(value: f64) -> String {
    let digits = fixed(value, 0);
    if digits == NONE {
        return digits;
    }
    let (sign, digits) = match digits.strip_prefix('−') {
        Some(rest) => ("−", rest),
        None => ("", digits.as_str()),
    };
    let mut out = String::from(sign);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A whole number, or a dash.
pub(super) fn optional_count(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.into(), count)
}

/// So many significant digits, plain where that is short, else `1.2e−5`.
pub(super) fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let exponent = value.abs().log10().floor();
    if !(-4.0..7.0).contains(&exponent) {
        return trim(&format!("{value:.*e}", digits.saturating_sub(1))).replace('-', "−");
    }
    // In range: the exponent is between -4 and 6.
    let decimals = (digits as f64 - 1.0 - exponent).max(0.0) as usize;
    fixed(value, decimals)
}

/// `3.00e-5` to `3e-5`.
fn trim(text: &str) -> String {
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => {
            let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
            format!("{mantissa}e{exponent}")
        }
        _ => text.into(),
    }
}

/// Seconds as `0.42 s`, `12.3 s`, `3 min 20 s` or `2 h 05 min`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.into();
    }
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{seconds:.2} s"),
        _ if seconds < 59.95 => format!("{seconds:.1} s"),
        0..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `2026-11-23T08:03:12.5Z` as `2026-11-23 08:03 UTC`; anything else as it is.
pub(super) fn date(rfc3339: &str) -> String {
    let minutes = rfc3339.strip_suffix('Z').and_then(|_| rfc3339.get(..16));
    match minutes.and_then(|text| text.split_once('T')) {
        Some((day, time)) => format!("{day} {time} UTC"),
        None => rfc3339.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(fixed(-0.0001, 2), "0.00");
        assert_eq!(fixed(-1.5, 1), "−1.5");
        assert_eq!(fixed(f64::NAN, 1), NONE);
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(-1234.0), "−1,234");
        assert_eq!(count(999.0), "999");
        assert_eq!(significant(0.000_03, 3), "3e−5");
        assert_eq!(significant(12.345, 3), "12.3");
        assert_eq!(significant(0.012_345, 3), "0.0123");
        assert_eq!(percent_interval(Some(0.645), Some(0.6), None), "64.5 %");
        assert_eq!(
            percent_interval(Some(0.645), Some(0.598), Some(0.692)),
            "64.5 % [59.8, 69.2]"
        );
    }

    #[test]
    fn differences_have_a_sign_and_small_p_values_a_bound() {
        assert_eq!(points_interval(0.012, -0.005, 0.0294), "+1.2 [−0.5, 2.9]");
        assert_eq!(points_interval(-0.012, -0.03, 0.0), "−1.2 [−3.0, 0.0]");
        assert_eq!(points_interval(0.0, -0.01, 0.01), "0.0 [−1.0, 1.0]");
        assert_eq!(p_value(0.0306), "0.031");
        assert_eq!(p_value(4e-6), "< 0.001");
        assert_eq!(p_value(1.0), "1.000");
    }

    #[test]
    fn durations_and_dates() {
        assert_eq!(duration(0.424), "0.42 s");
        assert_eq!(duration(59.97), "1 min 00 s");
        assert_eq!(duration(7500.0), "2 h 05 min");
        assert_eq!(date("2026-11-23T08:03:12.5Z"), "2026-11-23 08:03 UTC");
        assert_eq!(date("yesterday"), "yesterday");
    }
}
