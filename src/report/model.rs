//! A report as data: what every format renders.

use super::results::Results;

/// A report, independent of its format.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub(super) title: String,
    /// Name and value of the facts under the title; the only part that
    /// depends on time and machine.
    pub(super) facts: Vec<(String, String)>,
    /// Warnings that a reader must see first.
    pub(super) warnings: Vec<String>,
    /// The main results, short.
    pub(super) tiles: Vec<Tile>,
    pub(super) sections: Vec<Section>,
    /// Everything for programs.
    pub(super) results: Results,
}

/// A main result: a large value, what it is, and a remark.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tile {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) remark: String,
}

/// A section with a heading.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    /// Anchor: lower-case letters and hyphens.
    pub(super) id: &'static str,
    pub(super) heading: String,
    pub(super) blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    Paragraph(String),
    /// Says what is missing and what would give it.
    Missing(String),
    Table(Table),
    Figure(Figure),
    Samples(Vec<Sample>),
    /// Folded away where the format can.
    Details {
        summary: String,
        open: bool,
        blocks: Vec<Block>,
    },
}

/// A table of texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: String,
    pub(super) align: Align,
}

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Text,
    Number,
    /// Names and digests, in a fixed-width face.
    Code,
}

impl Table {
    pub(super) fn new(caption: impl Into<String>) -> Self {
        Self {
            caption: caption.into(),
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(super) fn column(mut self, title: impl Into<String>, align: Align) -> Self {
        let title = title.into();
        self.columns.push(Column { title, align });
        self
    }

    pub(super) fn numbers<'a>(mut self, titles: impl IntoIterator<Item = &'a str>) -> Self {
        for title in titles {
            self = self.column(title, Align::Number);
        }
        self
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "{}", self.caption);
        self.rows.push(cells);
    }
}

/// Charts that belong together, with one caption.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) caption: String,
    pub(super) panels: Vec<Panel>,
}

/// One chart of a figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) chart: Chart,
}

/// A chart as data.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Chart {
    Bars(Bars),
    Lines(Lines),
    Areas(Lines),
    Histogram(Histogram),
    Reliability(Reliability),
    Outcomes(Outcomes),
    Graph(Graph),
}

/// Groups of bars with intervals; values are shares from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bars {
    pub(super) y_label: String,
    pub(super) categories: Vec<String>,
    pub(super) series: Vec<BarSeries>,
    /// A dashed line across, and what it is.
    pub(super) reference: Option<(f64, String)>,
    /// Where the axis ends.
    pub(super) most: f64,
}

/// One bar of each category.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BarSeries {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) values: Vec<Option<Estimate>>,
}

/// A value with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
}

/// Curves over a common axis; stacked where they are areas.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lines {
    pub(super) x_label: String,
    pub(super) y_label: String,
    /// Lowest and highest value of the axis, if fixed.
    pub(super) y_range: Option<(f64, f64)>,
    pub(super) series: Vec<LineSeries>,
    pub(super) reference: Option<(f64, String)>,
}

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LineSeries {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
    /// The unsmoothed points, drawn faintly.
    pub(super) raw: Vec<(f64, f64)>,
    /// Mark each point.
    pub(super) marks: bool,
}

/// Overlaid histograms over common bins, as shares of each series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    pub(super) x_label: String,
    /// One more than there are bins.
    pub(super) edges: Vec<f64>,
    pub(super) series: Vec<HistogramSeries>,
}

/// One histogram.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HistogramSeries {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) counts: Vec<u64>,
    pub(super) mean: f64,
}

/// Accuracy against confidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reliability {
    pub(super) colour: usize,
    pub(super) bins: Vec<ReliabilityBin>,
    /// Short figures, for example `ECE 0.077`.
    pub(super) note: String,
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ReliabilityBin {
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) count: f64,
    pub(super) confidence: f64,
    pub(super) accuracy: f64,
    /// Of the accuracy.
    pub(super) interval: Option<(f64, f64)>,
}

/// Wins, ties, losses as one bar for each comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcomes {
    pub(super) rows: Vec<OutcomeRow>,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OutcomeRow {
    pub(super) label: String,
    pub(super) win: f64,
    pub(super) tie: f64,
    pub(super) loss: f64,
    pub(super) unparsed: f64,
    pub(super) rate: Option<Estimate>,
}

/// The stages and what they take from each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graph {
    pub(super) nodes: Vec<GraphNode>,
    /// From and to, as indices into the nodes.
    pub(super) edges: Vec<(usize, usize)>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GraphNode {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) state: super::input::StageStatus,
}

/// A prompt with its responses.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) prompt: Vec<(String, String)>,
    pub(super) responses: Vec<SampleResponse>,
    /// What the judge said.
    pub(super) verdict: Option<String>,
}

/// One response.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SampleResponse {
    pub(super) label: String,
    pub(super) text: String,
    pub(super) reward: Option<f64>,
    /// True if the judge found it better.
    pub(super) preferred: bool,
}
