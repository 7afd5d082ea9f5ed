//! Axes, gridlines and their labels.

use super::super::number;
use super::canvas::{Anchor, Canvas};
use super::scale::Scale;

/// How tick values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Plain,
    Percent,
}

fn tick(value: f64, decimals: usize, unit: Unit) -> String {
    match unit {
        Unit::Percent => format!(
            "{} %",
            number::fixed(100.0 * value, decimals.saturating_sub(2))
        ),
        Unit::Plain if value.abs() >= 1000.0 && decimals == 0 => number::count(value),
        Unit::Plain => number::fixed(value, decimals),
    }
}

/// Gridlines across, values at the left, and the label reading upwards.
pub(super) fn y_axis(
    canvas: &mut Canvas,
    y: &Scale,
    (left, right): (f64, f64),
    unit: Unit,
    label: &str,
) {
    let (bottom, top) = y.pixels();
    let (ticks, decimals) = y.ticks(((bottom - top) / 40.0).max(2.0) as usize);
    for value in ticks {
        let at = y.at(value);
        canvas.line((left, at), (right, at), "grid");
        let text = tick(value, decimals, unit);
        canvas.text((left - 6.0, at + 4.0), Anchor::End, "tick", &text);
    }
    canvas.upright((13.0, f64::midpoint(top, bottom)), label);
}

/// The line at the bottom with its values and label.
pub(super) fn x_axis(canvas: &mut Canvas, x: &Scale, bottom: f64, unit: Unit, label: &str) {
    let (left, right) = x.pixels();
    canvas.line((left, bottom), (right, bottom), "axis");
    let (ticks, decimals) = x.ticks(((right - left) / 65.0).max(3.0) as usize);
    for value in ticks {
        let at = x.at(value);
        canvas.line((at, bottom), (at, bottom + 4.0), "axis");
        let text = tick(value, decimals, unit);
        canvas.text((at, bottom + 17.0), Anchor::Middle, "tick", &text);
    }
    let middle = f64::midpoint(left, right);
    canvas.text((middle, bottom + 34.0), Anchor::Middle, "label", label);
}

/// The dashed line that a chart is read against, with its name at the right.
pub(super) fn reference(
    canvas: &mut Canvas,
    y: &Scale,
    (left, right): (f64, f64),
    (value, name): (f64, &str),
) {
    if y.contains(value) {
        let at = y.at(value);
        canvas.line((left, at), (right, at), "reference");
        canvas.text((right - 5.0, at - 4.0), Anchor::End, "remark", name);
    }
}
