//! Shares over time, stacked.

use super::super::model::{LineSeries, Lines};
use super::super::number;
use super::canvas::colour;
use super::lines::plot;

pub(super) fn draw(areas: &Lines, title: &str) -> String {
    let mut plot = plot(areas, areas.y_range.unwrap_or((0.0, 1.0)));
    let steps = areas
        .series
        .iter()
        .map(|s| s.points.len())
        .min()
        .unwrap_or(0);
    let mut floor = vec![0.0; steps];
    let mut ends = Vec::new();
    for series in &areas.series {
        let lower: Vec<_> = floor.clone();
        for (floor, point) in floor.iter_mut().zip(&series.points) {
            *floor += point.1.max(0.0);
        }
        let x = |i: usize| plot.x.at(series.points[i].0);
        let upper_edge = (0..steps).map(|i| (x(i), plot.y.at(floor[i])));
        let lower_edge = (0..steps).rev().map(|i| (x(i), plot.y.at(lower[i])));
        let outline: Vec<_> = upper_edge.chain(lower_edge).collect();
        let class = format!("area {}", colour(series.colour));
        plot.canvas.path(&outline, true, &class, &tooltip(series));
        if let (Some(low), Some(high)) = (lower.last(), floor.last()) {
            let middle = plot.y.at(f64::midpoint(*low, *high));
            ends.push((series.name.clone(), series.colour, middle));
        }
    }
    plot.names(ends);
    plot.canvas.finish(title)
}

fn tooltip(series: &LineSeries) -> String {
    let sum: f64 = series.points.iter().map(|p| p.1).sum();
    let mean = sum / series.points.len().max(1) as f64;
    format!("{}: mean {}", series.name, number::fixed(mean, 3))
}
