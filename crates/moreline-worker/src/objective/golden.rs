//! The published numbers that the solvers are compared with.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::gram::{Gram, gram};
use super::normalize::{Normalize, denominators};

#[derive(Deserialize)]
struct File {
    min_norm: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    grads: Vec<Vec<f64>>,
    losses: Vec<f64>,
    lambda: BTreeMap<String, Vec<f64>>,
    norm2: BTreeMap<String, f64>,
}

/// One set of gradients under one normalisation.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) gram: Gram,
    pub(super) lambda: Vec<f64>,
    pub(super) squared_norm: f64,
}

/// All sets under all normalisations, gradients divided in fp32 as they were.
pub(super) fn cases() -> Vec<Case> {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/more.json"
    ));
    let file: File = serde_json::from_str(text).unwrap();
    let kinds = [
        ("none", Normalize::None),
        ("l2", Normalize::L2),
        ("loss", Normalize::Loss),
        ("loss+", Normalize::LossPlus),
    ];
    let mut cases = Vec::new();
    for (index, entry) in file.min_norm.iter().enumerate() {
        for (name, kind) in kinds {
            cases.push(Case {
                name: format!("case {index}, {name}"),
                gram: gram(&divided_in_fp32(&entry.grads, &entry.losses, kind)).unwrap(),
                lambda: entry.lambda[name].clone(),
                squared_norm: entry.norm2[name],
            });
        }
    }
    assert_eq!(cases.len(), 24 * 4);
    cases
}

/// The largest absolute difference of two lists.
pub(super) fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

fn divided_in_fp32(grads: &[Vec<f64>], losses: &[f64], kind: Normalize) -> Vec<Vec<f64>> {
    let norms = gram(grads).unwrap().norms();
    let divisors = denominators(&norms, losses, kind).unwrap();
    let divide = |value: f64, divisor: f64| f64::from(value as f32 / divisor as f32);
    let row = |(grad, divisor): (&Vec<f64>, &f64)| {
        grad.iter().map(|value| divide(*value, *divisor)).collect()
    };
    grads.iter().zip(&divisors).map(row).collect()
}
