//! Overlaid histograms.

use super::super::model::{Histogram, HistogramSeries};
use super::super::number;
use super::axes::{self, Unit};
use super::canvas::{Canvas, colour};
use super::scale::Scale;

const LEFT: f64 = 62.0;
const RIGHT: f64 = 512.0;
const BOTTOM: f64 = 250.0;

pub(super) fn draw(histogram: &Histogram, title: &str) -> String {
    let mut canvas = Canvas::new(520.0, BOTTOM + 42.0);
    let legend = histogram.series.iter().map(|s| {
        (
            format!("{} (mean {})", s.name, number::fixed(s.mean, 2)),
            s.colour,
        )
    });
    let legend: Vec<_> = legend.collect();
    let top = 10.0 + canvas.legend(&legend, (LEFT, 0.0));
    let ends = (
        histogram.edges.first().copied(),
        histogram.edges.last().copied(),
    );
    let range = (ends.0.unwrap_or(0.0), ends.1.unwrap_or(1.0));
    let x = Scale::new(range, (LEFT, RIGHT));
    let highest = histogram.series.iter().flat_map(shares).fold(0.0, f64::max);
    let y = Scale::new((0.0, highest), (BOTTOM, top)).nice(4);
    axes::y_axis(&mut canvas, &y, (LEFT, RIGHT), Unit::Percent, "share");
    for series in &histogram.series {
        draw_series(&mut canvas, (&x, &y), &histogram.edges, series);
    }
    axes::x_axis(&mut canvas, &x, BOTTOM, Unit::Plain, &histogram.x_label);
    for series in &histogram.series {
        let at = x.at(series.mean);
        let foot = [
            (at, BOTTOM - 9.0),
            (at - 5.0, BOTTOM + 1.0),
            (at + 5.0, BOTTOM + 1.0),
        ];
        let class = format!("mark {}", colour(series.colour));
        let tooltip = format!("{}: mean {}", series.name, number::fixed(series.mean, 3));
        canvas.path(&foot, true, &class, &tooltip);
    }
    canvas.finish(title)
}

fn shares(series: &HistogramSeries) -> Vec<f64> {
    let total = series.counts.iter().sum::<u64>().max(1) as f64;
    series
        .counts
        .iter()
        .map(|count| *count as f64 / total)
        .collect()
}

/// A stepped outline with a thin fill: overlapping ones stay readable.
fn draw_series(
    canvas: &mut Canvas,
    (x, y): (&Scale, &Scale),
    edges: &[f64],
    series: &HistogramSeries,
) {
    let shares = shares(series);
    let mut outline = vec![(x.at(edges[0]), y.at(0.0))];
    for (pair, share) in edges.windows(2).zip(&shares) {
        outline.extend(pair.iter().map(|edge| (x.at(*edge), y.at(*share))));
    }
    outline.push((x.at(edges[edges.len() - 1]), y.at(0.0)));
    canvas.path(
        &outline,
        true,
        &format!("step {}", colour(series.colour)),
        "",
    );
    for ((pair, share), count) in edges.windows(2).zip(&shares).zip(&series.counts) {
        if *count > 0 {
            let decimals = if pair[1] - pair[0] < 0.1 { 2 } else { 1 };
            let [low, high] = [pair[0], pair[1]].map(|edge| number::fixed(edge, decimals));
            let tooltip = format!("{}: {count} from {low} to {high}", series.name);
            let (left, top) = (x.at(pair[0]), y.at(*share));
            let area = [left, top, x.at(pair[1]) - left, y.at(0.0) - top];
            canvas.rect(area, "hover", &tooltip);
        }
    }
}
