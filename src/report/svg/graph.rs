//! The graph of stages, in columns from left to right.
//!
//! A stage stands one column right of the last stage it depends on. Edges over
//! several columns get a waypoint in each column between, which takes part in
//! the ordering, so that they run between the boxes; the order within columns
//! comes from sweeps that move each entry to the mean place of its neighbours
//! (Sugiyama, Tagawa and Toda 1981).

use super::super::input::StageStatus;
use super::super::model::{Graph, GraphNode};
use super::canvas::{Anchor, Canvas, shorten, text_width};

const BOX_HEIGHT: f64 = 42.0;
const ROW_GAP: f64 = 14.0;
const WAYPOINT_HEIGHT: f64 = 10.0;
const COLUMN_GAP: f64 = 40.0;
const NAME_CHARACTERS: usize = 24;
const SWEEPS: usize = 8;

/// An entry of a column: a stage, or a waypoint of an edge.
struct Entry {
    column: usize,
    node: Option<usize>,
    y: f64,
}

impl Entry {
    fn height(&self) -> f64 {
        if self.node.is_some() {
            BOX_HEIGHT
        } else {
            WAYPOINT_HEIGHT
        }
    }
}

/// Entries, the column each stands in, and edges as chains of entries.
struct Layout {
    entries: Vec<Entry>,
    columns: Vec<Vec<usize>>,
    chains: Vec<Vec<usize>>,
}

pub(super) fn draw(graph: &Graph, title: &str) -> String {
    let mut layout = Layout::new(graph);
    for _ in 0..SWEEPS {
        layout.sweep(true);
        layout.sweep(false);
    }
    let height = layout.place();
    let widths: Vec<_> = layout
        .columns
        .iter()
        .map(|column| layout.width(graph, column))
        .collect();
    let mut left = 2.0;
    let mut lefts = Vec::new();
    for width in &widths {
        lefts.push(left);
        left += width + COLUMN_GAP;
    }
    let mut canvas = Canvas::new(left - COLUMN_GAP + 2.0, height + 4.0);
    for chain in &layout.chains {
        layout.edge(&mut canvas, chain, &lefts, &widths);
    }
    for entry in &layout.entries {
        if let Some(node) = entry.node {
            let area = [
                lefts[entry.column],
                entry.y + 2.0,
                widths[entry.column],
                BOX_HEIGHT,
            ];
            draw_node(&mut canvas, &graph.nodes[node], area);
        }
    }
    canvas.finish(title)
}

/// The column of each stage: the length of the longest chain that leads to it.
/// Bounded by the number of stages, should the graph have a cycle.
fn depths(graph: &Graph) -> Vec<usize> {
    let mut depths = vec![0; graph.nodes.len()];
    for _ in 0..graph.nodes.len() {
        let mut changed = false;
        for &(from, to) in &graph.edges {
            let depth = (depths[from] + 1).min(graph.nodes.len() - 1);
            if depth > depths[to] {
                depths[to] = depth;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    // A stage without inputs moves next to what needs it first.
    for node in 0..graph.nodes.len() {
        if graph.edges.iter().all(|edge| edge.1 != node) {
            let users = graph.edges.iter().filter(|edge| edge.0 == node);
            let nearest = users.map(|edge| depths[edge.1]).min();
            depths[node] = nearest.map_or(0, |depth| depth.saturating_sub(1));
        }
    }
    depths
}

impl Layout {
    fn new(graph: &Graph) -> Self {
        let depths = depths(graph);
        let entry = |(node, column): (usize, &usize)| Entry {
            column: *column,
            node: Some(node),
            y: 0.0,
        };
        let mut entries: Vec<_> = depths.iter().enumerate().map(entry).collect();
        let mut chains = Vec::new();
        for &(from, to) in &graph.edges {
            let mut chain = vec![from];
            for column in depths[from] + 1..depths[to] {
                chain.push(entries.len());
                entries.push(Entry {
                    column,
                    node: None,
                    y: 0.0,
                });
            }
            chain.push(to);
            chains.push(chain);
        }
        let last = depths.iter().copied().max().unwrap_or(0);
        let mut columns = vec![Vec::new(); last + 1];
        for (i, entry) in entries.iter().enumerate() {
            columns[entry.column].push(i);
        }
        Self {
            entries,
            columns,
            chains,
        }
    }

    /// Neighbours of an entry in the column before or after it.
    fn neighbours(&self, entry: usize, before: bool) -> impl Iterator<Item = usize> {
        let pairs = self.chains.iter().flat_map(|chain| chain.windows(2));
        pairs.filter_map(move |pair| match before {
            true => (pair[1] == entry).then_some(pair[0]),
            false => (pair[0] == entry).then_some(pair[1]),
        })
    }

    /// Orders every column by the mean place of its neighbours on one side.
    fn sweep(&mut self, forward: bool) {
        let mut place = vec![0.0; self.entries.len()];
        for column in &self.columns {
            for (i, entry) in column.iter().enumerate() {
                place[*entry] = (i as f64 + 0.5) / column.len() as f64;
            }
        }
        let mut order: Vec<_> = (0..self.columns.len()).collect();
        if !forward {
            order.reverse();
        }
        for index in order {
            let mut column = std::mem::take(&mut self.columns[index]);
            let mean = |entry: usize| {
                let places: Vec<_> = self
                    .neighbours(entry, forward)
                    .map(|other| place[other])
                    .collect();
                match places.len() {
                    0 => place[entry],
                    n => places.iter().sum::<f64>() / n as f64,
                }
            };
            let mut keyed: Vec<_> = column.iter().map(|entry| (mean(*entry), *entry)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            column.clear();
            for (i, (_, entry)) in keyed.iter().enumerate() {
                place[*entry] = (i as f64 + 0.5) / keyed.len() as f64;
                column.push(*entry);
            }
            self.columns[index] = column;
        }
    }

    /// Sets every entry's upper edge, columns centred; returns the height.
    fn place(&mut self) -> f64 {
        let height = |column: &[usize]| {
            let sum: f64 = column
                .iter()
                .map(|e| self.entries[*e].height() + ROW_GAP)
                .sum();
            sum - ROW_GAP
        };
        let heights: Vec<_> = self.columns.iter().map(|column| height(column)).collect();
        let tallest = heights.iter().copied().fold(0.0, f64::max);
        for (column, own) in self.columns.iter().zip(heights) {
            let mut y = (tallest - own) / 2.0;
            for entry in column {
                self.entries[*entry].y = y;
                y += self.entries[*entry].height() + ROW_GAP;
            }
        }
        tallest
    }

    fn width(&self, graph: &Graph, column: &[usize]) -> f64 {
        let nodes = column.iter().filter_map(|entry| self.entries[*entry].node);
        let widths = nodes.map(|node| {
            let node = &graph.nodes[node];
            let name = text_width(&shorten(&node.name, NAME_CHARACTERS)) * 1.08;
            name.max(text_width(&second_line(node)) * 0.92) + 24.0
        });
        widths.fold(90.0, f64::max)
    }

    fn edge(&self, canvas: &mut Canvas, chain: &[usize], lefts: &[f64], widths: &[f64]) {
        let middle = |entry: &Entry| entry.y + 2.0 + entry.height() / 2.0;
        let mut points = Vec::new();
        for (i, entry) in chain.iter().enumerate() {
            let entry = &self.entries[*entry];
            let (left, right) = (
                lefts[entry.column],
                lefts[entry.column] + widths[entry.column],
            );
            if i > 0 {
                points.push((
                    if entry.node.is_some() {
                        left - 2.0
                    } else {
                        left
                    },
                    middle(entry),
                ));
            }
            if i + 1 < chain.len() {
                points.push((right, middle(entry)));
            }
        }
        canvas.curve(&points, "edge", true);
    }
}

/// Class and symbol of a state.
fn mark(state: StageStatus) -> (&'static str, &'static str) {
    match state {
        StageStatus::Ran => ("state-ran", "✓"),
        StageStatus::Cached => ("state-cached", "●"),
        StageStatus::CutOff => ("state-cached", "◐"),
        StageStatus::Failed => ("state-failed", "✗"),
        StageStatus::Skipped => ("state-open", "–"),
        StageStatus::Pending => ("state-open", "○"),
    }
}

fn second_line(node: &GraphNode) -> String {
    format!(
        "{} {} · {}",
        mark(node.state).1,
        node.kind,
        node.state.word()
    )
}

fn draw_node(canvas: &mut Canvas, node: &GraphNode, [x, y, w, h]: [f64; 4]) {
    let tooltip = format!("{} ({}): {}", node.name, node.kind, node.state.word());
    canvas.rect([x, y, w, h], "box", &tooltip);
    canvas.rect([x, y, 5.0, h], mark(node.state).0, "");
    let name = shorten(&node.name, NAME_CHARACTERS);
    canvas.text((x + 13.0, y + 17.0), Anchor::Start, "name strong", &name);
    canvas.text(
        (x + 13.0, y + 33.0),
        Anchor::Start,
        "remark",
        &second_line(node),
    );
}
