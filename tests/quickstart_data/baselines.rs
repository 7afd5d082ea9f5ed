//! Two shallow models of preference: lengths only, and twenty words only.

use std::collections::{BTreeMap, BTreeSet};

/// How many words the bag-of-words baseline may look at.
const FEATURES: usize = 20;

/// A prompt with its better and its worse reply.
pub(super) struct Pair {
    pub(super) prompt: String,
    pub(super) chosen: String,
    pub(super) rejected: String,
}

/// Lower-case ASCII words of a text, apostrophes kept.
pub(super) fn words(text: &str) -> Vec<String> {
    let keep = |c: char| c.is_ascii_alphanumeric() || c == '\'';
    text.to_lowercase()
        .split(|c| !keep(c))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Test accuracy of a logistic regression on differences of length.
pub(super) fn length_accuracy(train: &[Pair], test: &[Pair]) -> f64 {
    evaluate(train, test, length_row)
}

/// Test accuracy of a logistic regression on the presence of the twenty words
/// whose document frequency differs most between the sides of `train`.
pub(super) fn word_accuracy(train: &[Pair], test: &[Pair]) -> f64 {
    let vocabulary = best_words(train);
    evaluate(train, test, |pair| word_row(pair, &vocabulary))
}

fn evaluate(train: &[Pair], test: &[Pair], row: impl Fn(&Pair) -> Vec<f64>) -> f64 {
    let weights = fit(train.iter().map(&row).collect());
    let score = test.iter().map(|pair| match dot(&weights, &row(pair)) {
        margin if margin > 0.0 => 1.0,
        0.0 => 0.5,
        _ => 0.0,
    });
    score.sum::<f64>() / test.len() as f64
}

/// Chosen minus rejected: characters and words.
fn length_row(pair: &Pair) -> Vec<f64> {
    let sizes = |text: &str| (text.chars().count() as f64, words(text).len() as f64);
    let (chosen, rejected) = (sizes(&pair.chosen), sizes(&pair.rejected));
    vec![chosen.0 - rejected.0, chosen.1 - rejected.1]
}

/// Chosen minus rejected: presence of each word.
fn word_row(pair: &Pair, vocabulary: &[String]) -> Vec<f64> {
    let [chosen, rejected] = [&pair.chosen, &pair.rejected].map(|text| word_set(text));
    let present = |set: &BTreeSet<String>, word| f64::from(u8::from(set.contains(word)));
    vocabulary
        .iter()
        .map(|word| present(&chosen, word) - present(&rejected, word))
        .collect()
}

fn word_set(text: &str) -> BTreeSet<String> {
    words(text).into_iter().collect()
}

fn best_words(train: &[Pair]) -> Vec<String> {
    let mut difference = BTreeMap::<String, i64>::new();
    for pair in train {
        for word in word_set(&pair.chosen) {
            *difference.entry(word).or_default() += 1;
        }
        for word in word_set(&pair.rejected) {
            *difference.entry(word).or_default() -= 1;
        }
    }
    let mut ranked: Vec<_> = difference.into_iter().collect();
    ranked.sort_by_key(|(_, count)| -count.abs());
    ranked.truncate(FEATURES);
    ranked.into_iter().map(|(word, _)| word).collect()
}

/// Logistic regression without bias, every row a win: gradient descent on
/// columns scaled to unit root mean square, with a little weight decay.
fn fit(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let (count, size) = (rows.len() as f64, rows[0].len());
    let scale: Vec<f64> = (0..size)
        .map(|j| (rows.iter().map(|row| row[j] * row[j]).sum::<f64>() / count).sqrt())
        .map(|scale| if scale > 0.0 { scale } else { 1.0 })
        .collect();
    for row in &mut rows {
        row.iter_mut().zip(&scale).for_each(|(x, s)| *x /= s);
    }
    let mut weights = vec![0.0; size];
    for _ in 0..400 {
        let mut gradient: Vec<f64> = weights.iter().map(|w| 1e-3 * w).collect();
        for row in &rows {
            let pull = 1.0 / (1.0 + dot(&weights, row).clamp(-30.0, 30.0).exp()) / count;
            gradient
                .iter_mut()
                .zip(row)
                .for_each(|(g, x)| *g -= pull * x);
        }
        weights
            .iter_mut()
            .zip(&gradient)
            .for_each(|(w, g)| *w -= 0.5 * g);
    }
    weights.iter().zip(&scale).map(|(w, s)| w / s).collect()
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}
