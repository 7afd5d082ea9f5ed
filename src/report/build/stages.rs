//! The graph of stages.

use super::super::model::{Block, Chart, Figure, Graph, GraphNode, Panel};
use super::Source;

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let stages = &source.input.stages;
    if stages.is_empty() {
        return vec![Block::Missing("This experiment has no stages.".into())];
    }
    let node = |stage: &super::ReportStage| GraphNode {
        name: stage.name.clone(),
        kind: stage.kind().name(),
        state: stage.state,
    };
    let mut edges = Vec::new();
    for (to, stage) in stages.iter().enumerate() {
        for name in stage.all_references() {
            let from = stages.iter().position(|other| other.name == name);
            edges.extend(from.filter(|from| *from != to).map(|from| (from, to)));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    let graph = Graph {
        nodes: stages.iter().map(node).collect(),
        edges,
    };
    vec![Block::Figure(Figure {
        caption: "Each stage with its kind and state; an arrow leads from a stage to one that \
                  takes its output. Models and data sets are left out."
            .into(),
        panels: vec![Panel {
            title: "Graph of stages".into(),
            chart: Chart::Graph(graph),
        }],
    })]
}
