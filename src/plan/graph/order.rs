//! An order in which stages can run, or the circle that rules it out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::{Direction, algo};

use super::GraphError;
use crate::config::Experiment;

/// Kahn's algorithm, taking the stage that comes first in the file among
/// those that are ready.
pub(super) fn order(
    graph: &DiGraph<usize, ()>,
    experiment: &Experiment,
) -> Result<Vec<usize>, GraphError> {
    let mut waiting = dependencies(graph);
    let ready = (0..waiting.len()).filter(|&index| waiting[index] == 0);
    let mut ready: BinaryHeap<_> = ready.map(Reverse).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for next in graph.neighbors(NodeIndex::new(index)) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                ready.push(Reverse(next.index()));
            }
        }
    }
    if order.len() == waiting.len() {
        return Ok(order);
    }
    Err(GraphError::Cycle(cycle(graph, experiment)))
}

/// The stages of `order` depth first: what a finished stage makes possible comes
/// before its neighbours, so that chains end one after another.
pub(super) fn chains(graph: &DiGraph<usize, ()>, order: &[usize]) -> Vec<usize> {
    let mut place = vec![0; order.len()];
    for (at, &index) in order.iter().enumerate() {
        place[index] = at;
    }
    let mut waiting = dependencies(graph);
    let roots = order.iter().rev().copied();
    let mut stack: Vec<usize> = roots.filter(|&index| waiting[index] == 0).collect();
    let mut chains = Vec::with_capacity(order.len());
    while let Some(index) = stack.pop() {
        chains.push(index);
        let mut possible = Vec::new();
        for next in graph.neighbors(NodeIndex::new(index)) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                possible.push(next.index());
            }
        }
        possible.sort_unstable_by_key(|&next| Reverse(place[next]));
        stack.extend(possible);
    }
    chains
}

/// How many stages each takes something from.
fn dependencies(graph: &DiGraph<usize, ()>) -> Vec<usize> {
    let count = |node| graph.neighbors_directed(node, Direction::Incoming).count();
    graph.node_indices().map(count).collect()
}

/// Names along one circle, the first repeated at the end.
fn cycle(graph: &DiGraph<usize, ()>, experiment: &Experiment) -> Vec<String> {
    let circles = algo::tarjan_scc(graph);
    let member = |scc: &Vec<NodeIndex>| {
        scc.len() > 1 || scc.first().is_some_and(|&n| graph.contains_edge(n, n))
    };
    let Some(circle) = circles.into_iter().find(member) else {
        return Vec::new();
    };
    let mut path = vec![circle[0]];
    loop {
        let last = path[path.len() - 1];
        let Some(next) = graph.neighbors(last).find(|node| circle.contains(node)) else {
            break;
        };
        if let Some(start) = path.iter().position(|&node| node == next) {
            path.drain(..start);
            path.push(next);
            break;
        }
        path.push(next);
    }
    path.into_iter()
        .map(|node| experiment.stages[node.index()].name.clone())
        .collect()
}
