//! Random groups of sequences that continue prefixes of each other.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

/// Longest sequence.
pub(crate) const LONGEST: usize = 60;

/// Ids that every small model has.
const VOCABULARY: u32 = 320;

/// Models of these tests, in `tests/golden/models`: grouped keys tied and not,
/// biases, GPT-NeoX parallel and sequential.
pub(crate) const MODELS: [&str; 5] = [
    "llama-gqa-tied",
    "mistral",
    "qwen2-bias",
    "pythia-parallel",
    "neox-sequential",
];

/// The same cases on every machine: a failure here is one there.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(2312),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// One to five sequences of 1 to [`LONGEST`] tokens. Each continues a prefix of
/// an earlier one: none of it, some, or all; by nothing or by new tokens.
pub(crate) fn group() -> impl Strategy<Value = Vec<Vec<u32>>> {
    let token = 0..VOCABULARY;
    let tail = prop_oneof![
        1 => Just(0..=0usize),
        2 => Just(1..=7usize),
        3 => Just(8..=LONGEST),
    ]
    .prop_flat_map(move |size| prop::collection::vec(token.clone(), size));
    let kept = prop_oneof![1 => Just(0.0), 1 => Just(1.0), 4 => 0.0..1.0f64];
    prop::collection::vec((any::<Index>(), kept, tail), 1..=5).prop_map(grow)
}

fn grow(parts: Vec<(Index, f64, Vec<u32>)>) -> Vec<Vec<u32>> {
    let mut made: Vec<Vec<u32>> = Vec::new();
    for (which, kept, tail) in parts {
        let mut next = Vec::new();
        if !made.is_empty() {
            let other = &made[which.index(made.len())];
            let kept = (kept * other.len() as f64).round() as usize;
            next.extend(&other[..kept]);
        }
        next.extend(tail);
        next.truncate(LONGEST);
        if next.is_empty() {
            next.push(5);
        }
        made.push(next);
    }
    made
}

/// One to six groups, in any order.
pub(crate) fn groups() -> impl Strategy<Value = Vec<Vec<Vec<u32>>>> {
    prop::collection::vec(group(), 1..=6).prop_shuffle()
}

/// From one group at a time to all at once.
pub(crate) fn budget() -> impl Strategy<Value = usize> {
    prop_oneof![1..200usize, 200..2000usize]
}

/// Index of one of [`MODELS`].
pub(crate) fn model() -> impl Strategy<Value = &'static str> {
    prop::sample::select(MODELS.as_slice())
}
