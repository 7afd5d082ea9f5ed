//! Accuracy against confidence, with the pairs in each bin below.

use super::super::model::{Reliability, ReliabilityBin};
use super::super::number;
use super::axes::{self, Unit};
use super::canvas::{Anchor, Canvas, colour};
use super::scale::Scale;

const LEFT: f64 = 50.0;
const RIGHT: f64 = 188.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 160.0;
const STRIP_TOP: f64 = 170.0;
const STRIP_BOTTOM: f64 = 204.0;

pub(super) fn draw(reliability: &Reliability, title: &str) -> String {
    let mut canvas = Canvas::new(206.0, STRIP_BOTTOM + 40.0);
    let filled = || reliability.bins.iter().filter(|bin| bin.count > 0.0);
    // Confidence of two ways is never below one half.
    let low = if filled().all(|bin| bin.upper > 0.5) {
        0.5
    } else {
        0.0
    };
    let x = Scale::new((low, 1.0), (LEFT, RIGHT));
    let y = Scale::new((0.0, 1.0), (BOTTOM, TOP));
    axes::y_axis(&mut canvas, &y, (LEFT, RIGHT), Unit::Percent, "accuracy");
    let class = format!("fill {}", colour(reliability.colour));
    for bin in filled() {
        let tooltip = tooltip(bin);
        let (left, right) = (x.at(bin.lower) + 1.0, x.at(bin.upper) - 1.0);
        let top = y.at(bin.accuracy);
        canvas.rect(
            [left, top, right - left, BOTTOM - top],
            &format!("{class} soft"),
            &tooltip,
        );
        canvas.line(
            (left, top),
            (right, top),
            &format!("cap {}", colour(reliability.colour)),
        );
    }
    for bin in filled() {
        if let Some((least, most)) = bin.interval {
            let middle = f64::midpoint(x.at(bin.lower), x.at(bin.upper));
            canvas.line((middle, y.at(least)), (middle, y.at(most)), "whisker");
        }
    }
    canvas.line((x.at(low), y.at(low)), (x.at(1.0), y.at(1.0)), "reference");
    canvas.line((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis");
    canvas.text(
        (RIGHT - 4.0, BOTTOM - 8.0),
        Anchor::End,
        "note",
        &reliability.note,
    );
    strip(&mut canvas, &x, reliability);
    canvas.finish(title)
}

fn tooltip(bin: &ReliabilityBin) -> String {
    let (low, high) = bin.interval.unzip();
    format!(
        "confidence {} to {}: {} pairs, accuracy {}, mean confidence {}",
        number::fixed(bin.lower, 2),
        number::fixed(bin.upper, 2),
        number::count(bin.count),
        number::percent_interval(Some(bin.accuracy), low, high),
        number::percent(bin.confidence)
    )
}

/// Number of pairs in each bin, the largest written down.
fn strip(canvas: &mut Canvas, x: &Scale, reliability: &Reliability) {
    let most = reliability
        .bins
        .iter()
        .map(|bin| bin.count)
        .fold(1.0, f64::max);
    let y = Scale::new((0.0, most), (STRIP_BOTTOM, STRIP_TOP));
    for bin in reliability.bins.iter().filter(|bin| bin.count > 0.0) {
        let (left, right) = (x.at(bin.lower) + 1.0, x.at(bin.upper) - 1.0);
        let top = y.at(bin.count).min(STRIP_BOTTOM - 1.0);
        let area = [left, top, right - left, STRIP_BOTTOM - top];
        canvas.rect(
            area,
            "count",
            &format!("{} pairs", number::count(bin.count)),
        );
    }
    let at = (LEFT - 6.0, STRIP_TOP + 8.0);
    canvas.text(at, Anchor::End, "tick", &number::count(most));
    canvas.text(
        (LEFT - 6.0, STRIP_TOP + 22.0),
        Anchor::End,
        "remark",
        "pairs",
    );
    axes::x_axis(canvas, x, STRIP_BOTTOM, Unit::Percent, "confidence");
}
