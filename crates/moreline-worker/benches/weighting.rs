//! What weighing tasks costs in a step: the rows' head gradients from their
//! pooled embeddings, and the weights from those. Five tasks, 80 pairs.

#![expect(missing_docs, reason = "the function that criterion's macro writes")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use moreline_protocol::spec::{StageSpec, TrainReward};
use moreline_worker::loss::{Group, GroupLoss, Ranking, ranking_loss};
use moreline_worker::train::step::head_gradient;
use moreline_worker::train::weighting::{ScoredRow, Weighting};
use serde_json::json;

const TASKS: usize = 5;
const ROWS: usize = 80;
const HIDDEN: [usize; 3] = [576, 2048, 4096];

fn spec(method: &str, groups: usize) -> TrainReward {
    let table = json!({
        "kind": "train-reward", "model": "m", "data": ["a", "b", "c", "d", "e"],
        "method": method, "weight_groups": groups,
    });
    match serde_json::from_value(table) {
        Ok(StageSpec::TrainReward(spec)) => spec,
        other => panic!("{other:?} is no training"),
    }
}

/// Pooled embeddings `[2, H]` of a pair: what its task's pairs have in common,
/// and something of its own.
fn embeddings(row: usize, hidden: usize) -> Vec<f64> {
    let noise = |i: usize, salt: usize| {
        let mixed = (i * 7919 + salt * 104_729) % 10_007;
        mixed as f64 / 5003.5 - 1.0
    };
    (0..2 * hidden)
        .map(|i| noise(i, row % TASKS) + 0.5 * noise(i, 1000 + row))
        .collect()
}

fn losses() -> Vec<GroupLoss> {
    let one = |row: usize| {
        let rewards = [0.01 * row as f64, 0.3];
        let scores = &[1.0, 0.0];
        let group = Group {
            rewards: &rewards,
            scores,
        };
        ranking_loss(group, Ranking::default()).expect("finite rewards")
    };
    (0..ROWS).map(one).collect()
}

fn scored(losses: &[GroupLoss], embeddings: &[Vec<f64>], hidden: usize) -> Vec<ScoredRow> {
    let row = |(row, loss): (usize, &GroupLoss)| ScoredRow {
        task: row % TASKS,
        loss: loss.clone(),
        head_grad: head_gradient(&loss.gradient, &embeddings[row], hidden),
    };
    losses.iter().enumerate().map(row).collect()
}

fn gradients(criterion: &mut Criterion) {
    // As the worker does.
    torch_ext_sys::keep_large_blocks();
    let mut group = criterion.benchmark_group("head gradients");
    let losses = losses();
    for hidden in HIDDEN {
        let embeddings: Vec<Vec<f64>> = (0..ROWS).map(|row| embeddings(row, hidden)).collect();
        group.bench_function(BenchmarkId::from_parameter(hidden), |bencher| {
            bencher.iter(|| scored(black_box(&losses), black_box(&embeddings), hidden));
        });
    }
    group.finish();
}

fn weights(criterion: &mut Criterion) {
    let losses = losses();
    for (name, method, groups) in [
        ("more", "more", 1),
        ("more in 16 groups", "more", 16),
        ("pcgrad", "pcgrad", 1),
        ("dwa", "dwa", 1),
    ] {
        let mut group = criterion.benchmark_group(format!("weights/{name}"));
        for hidden in HIDDEN {
            let embeddings: Vec<Vec<f64>> = (0..ROWS).map(|row| embeddings(row, hidden)).collect();
            let rows = scored(&losses, &embeddings, hidden);
            let mut weighting = Weighting::new(&spec(method, groups), TASKS, hidden);
            group.bench_function(BenchmarkId::from_parameter(hidden), |bencher| {
                bencher.iter(|| weighting.solve(black_box(&rows)).expect("finite gradients"));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, gradients, weights);
criterion_main!(benches);
