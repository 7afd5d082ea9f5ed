//! What comes before the first matrix product: trees from sequences, cuts by
//! token budget, packed batches with their attention plans.

#![expect(missing_docs, reason = "the function that criterion's macro writes")]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use moreline_formats::ModelConfig;
use moreline_worker::batch::{Group, Packed, micro};
use tch::{Device, Kind};

/// `count` responses of `response` tokens to one prompt of `prompt`; every two
/// of them begin alike for a quarter of their length.
fn sequences(seed: u32, prompt: u32, response: u32, count: u32) -> Vec<Vec<u32>> {
    let token = |i: u32, salt: u32| (i * 7919 + (seed + salt) * 104_729) % 320;
    let one = |number: u32| {
        let prompt = (0..prompt).map(|i| token(i, 0));
        let alike = (0..response / 4).map(|i| token(i, 1 + number / 2));
        let own = (response / 4..response).map(|i| token(i, 1000 + number));
        prompt.chain(alike).chain(own).collect()
    };
    (0..count).map(one).collect()
}

/// Rows of a global batch: prompts and responses of the length of real ones.
fn rows(count: u32, responses: u32) -> Vec<Vec<Vec<u32>>> {
    let lengths = |row: u32| (40 + row * 37 % 200, 30 + row * 53 % 150);
    (0..count)
        .map(|row| {
            let (prompt, response) = lengths(row);
            sequences(row, prompt, response, responses)
        })
        .collect()
}

fn tokens(rows: &[Vec<Vec<u32>>]) -> u64 {
    rows.iter()
        .flatten()
        .map(|tokens| tokens.len() as u64)
        .sum()
}

fn trees(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trees");
    for (name, responses) in [("16 pairs", 2), ("16 rows of 8 responses", 8)] {
        let rows = rows(16, responses);
        group.throughput(Throughput::Elements(tokens(&rows)));
        group.bench_function(name, |bencher| {
            let trees = || -> Vec<Group> {
                rows.iter()
                    .map(|row| Group::share(black_box(row)))
                    .collect()
            };
            bencher.iter(trees);
        });
    }
    group.finish();
}

fn cuts(criterion: &mut Criterion) {
    let sizes: Vec<usize> = (0..10_000).map(|i| 20 + i * 7919 % 500).collect();
    let mut group = criterion.benchmark_group("micro-batches");
    group.throughput(Throughput::Elements(sizes.len() as u64));
    group.bench_function("10,000 rows by 4,096 tokens", |bencher| {
        bencher.iter(|| micro::cut(black_box(&sizes), 4096));
    });
    group.finish();
}

fn packing(criterion: &mut Criterion) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models/llama-gqa-tied");
    let config = ModelConfig::load(&model).expect("a model of the tests");
    let mut group = criterion.benchmark_group("packing");
    for (name, responses) in [("16 pairs", 2), ("16 rows of 8 responses", 8)] {
        let rows = rows(16, responses);
        let trees: Vec<Group> = rows.iter().map(|row| Group::share(row)).collect();
        group.throughput(Throughput::Elements(tokens(&rows)));
        group.bench_function(name, |bencher| {
            let pack = || Packed::new(black_box(&trees), &config, Kind::Float, Device::Cpu);
            bencher.iter(pack);
        });
    }
    group.finish();
}

criterion_group!(benches, trees, cuts, packing);
criterion_main!(benches);
