//! Charts as data to inline SVG.
//!
//! Colours and fonts come from the page's style sheet through classes, so that
//! a chart follows the light and dark scheme. Colours are never the only mark:
//! every series is labelled, and states carry a symbol.

mod areas;
mod axes;
mod bars;
mod canvas;
mod graph;
mod histogram;
mod lines;
mod outcomes;
mod reliability;
mod scale;

use super::model::Chart;
pub(super) use scale::nice_step;

/// Colours of the palette in the style sheet.
pub(super) const COLOURS: usize = 8;

/// The chart as an `<svg>` element; `title` is its name for screen readers.
pub(super) fn draw(chart: &Chart, title: &str) -> String {
    match chart {
        Chart::Bars(bars) => bars::draw(bars, title),
        Chart::Lines(lines) => lines::draw(lines, title),
        Chart::Areas(areas) => areas::draw(areas, title),
        Chart::Histogram(histogram) => histogram::draw(histogram, title),
        Chart::Reliability(reliability) => reliability::draw(reliability, title),
        Chart::Outcomes(outcomes) => outcomes::draw(outcomes, title),
        Chart::Graph(graph) => graph::draw(graph, title),
    }
}
