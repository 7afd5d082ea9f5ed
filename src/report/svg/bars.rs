//! Groups of bars with intervals.

use super::super::model::{Bars, Estimate};
use super::super::number;
use super::axes::{self, Unit};
use super::canvas::{Anchor, Canvas, colour, shorten, text_width};
use super::scale::Scale;

const LEFT: f64 = 62.0;
const PLOT_HEIGHT: f64 = 240.0;
const GAP: f64 = 26.0;

pub(super) fn draw(bars: &Bars, title: &str) -> String {
    let series = bars.series.len().max(1) as f64;
    let longest = bars
        .categories
        .iter()
        .map(|c| text_width(&shorten(c, 22)))
        .fold(0.0, f64::max);
    let group = (series * 56.0).clamp(84.0, 280.0).max(longest - GAP + 8.0);
    let reference = bars.reference.as_ref().map_or(0.0, |r| text_width(&r.1));
    let plot = (bars.categories.len() as f64 * (group + GAP)).max(280.0);
    let width = LEFT + plot + 14.0 + reference;
    let legend_rows = 1.0 + (series * 150.0 / width).floor();
    let top = 12.0 + 18.0 * legend_rows;
    let bottom = top + PLOT_HEIGHT;
    let mut canvas = Canvas::new(width, bottom + 26.0);
    let legend: Vec<_> = bars
        .series
        .iter()
        .map(|s| (s.name.clone(), s.colour))
        .collect();
    canvas.legend(&legend, (LEFT, 0.0));
    let y = Scale::new((0.0, bars.most), (bottom, top));
    let across = (LEFT, LEFT + plot);
    axes::y_axis(&mut canvas, &y, across, Unit::Percent, &bars.y_label);
    let bar = group / series;
    for (i, category) in bars.categories.iter().enumerate() {
        let start = LEFT + GAP / 2.0 + i as f64 * (group + GAP);
        for (j, series) in bars.series.iter().enumerate() {
            if let Some(Some(estimate)) = series.values.get(i) {
                let tooltip = tooltip(category, &series.name, estimate);
                let at = Place {
                    x: start + j as f64 * bar,
                    width: bar * 0.92,
                };
                draw_bar(&mut canvas, &y, at, estimate, (series.colour, &tooltip));
            }
        }
        let middle = (start + group / 2.0, bottom + 18.0);
        canvas.text(middle, Anchor::Middle, "name", &shorten(category, 22));
    }
    if let Some((value, name)) = &bars.reference {
        let at = y.at(*value);
        canvas.line((across.0, at), (across.1, at), "reference");
        canvas.text((across.1 + 6.0, at + 4.0), Anchor::Start, "remark", name);
    }
    canvas.line((LEFT, bottom), (across.1, bottom), "axis");
    canvas.finish(title)
}

struct Place {
    x: f64,
    width: f64,
}

fn tooltip(category: &str, name: &str, estimate: &Estimate) -> String {
    let value = number::percent_interval(Some(estimate.value), estimate.low, estimate.high);
    format!("{category}, {name}: {value}")
}

fn draw_bar(
    canvas: &mut Canvas,
    y: &Scale,
    at: Place,
    estimate: &Estimate,
    (index, tooltip): (usize, &str),
) {
    let (_, most) = y.range();
    let (top, foot) = (y.at(estimate.value), y.at(0.0));
    canvas.rect(
        [at.x, top, at.width, foot - top],
        &format!("fill {}", colour(index)),
        tooltip,
    );
    let middle = at.x + at.width / 2.0;
    if let (Some(low), Some(high)) = (estimate.low, estimate.high) {
        let (low, high) = (y.at(low), y.at(high));
        canvas.line((middle, low), (middle, high), "whisker");
        for end in [low, high] {
            canvas.line((middle - 4.0, end), (middle + 4.0, end), "whisker");
        }
    }
    if at.width >= 24.0 {
        // Bars of a few percent differ in the decimals.
        let decimals = usize::from(most < 0.5);
        let text = number::fixed(100.0 * estimate.value, decimals);
        canvas.text((middle, foot - 7.0), Anchor::Middle, "inbar", &text);
    }
}
