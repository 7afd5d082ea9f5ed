//! Sizes and ages as they are written on the command line.

/// `50GB`, `1.5 TiB`, `800M` or `4096` as bytes: decimal units, or binary ones
/// with an `i`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let lower = unit.to_ascii_lowercase();
    let short = lower.strip_suffix('b').unwrap_or(&lower);
    let (prefix, base) = match short.strip_suffix('i') {
        Some(prefix) => (prefix, 1024.0_f64),
        None => (short, 1000.0),
    };
    let power = ["", "k", "m", "g", "t", "p"]
        .iter()
        .position(|known| *known == prefix);
    match power.and_then(|power| i32::try_from(power).ok()) {
        Some(power) => Ok((number * base.powi(power)) as u64),
        None => Err(format!(
            "`{unit}` is no unit of size: write 50GB, 800MB or 1.5TiB"
        )),
    }
}

/// `30d`, `12h`, `90m`, `2w` or `45s` as seconds.
pub(super) fn age(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return Err(format!("`{unit}` is no unit of time: write 30d, 12h or 2w")),
    };
    Ok((number * seconds) as u64)
}

fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number = text[..end].parse::<f64>();
    let number = number.map_err(|_| format!("`{text}` does not begin with a number"))?;
    Ok((number, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        assert_eq!(size("50GB"), Ok(50_000_000_000));
        assert_eq!(size("1.5 KiB"), Ok(1536));
        assert_eq!(size("800M"), Ok(800_000_000));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("0"), Ok(0));
        for wrong in ["", "GB", "-1GB", "5 apples", "1.2.3K"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ages_need_a_unit() {
        assert_eq!(age("30d"), Ok(2_592_000));
        assert_eq!(age("12h"), Ok(43_200));
        assert_eq!(age("1.5h"), Ok(5400));
        for wrong in ["30", "d", "-1d", "1 year"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
