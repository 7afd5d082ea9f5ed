//! Rates of the running process: for events and the record, never in outputs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::session::Gradients;
use crate::stage::peak_memory_mb;

/// Work of this process, without what a checkpoint brought.
#[derive(Debug, Default)]
pub(super) struct Rates {
    tokens: u64,
    pairs: u64,
    /// Seconds of the whole training.
    pub seconds: f64,
    /// Seconds of the steps' parts, by name.
    parts: BTreeMap<&'static str, f64>,
}

impl Rates {
    /// Counts a step; its rates, and the most memory held so far.
    pub(super) fn step(&mut self, found: &Gradients, took: Duration) -> BTreeMap<String, f64> {
        self.tokens += found.tokens;
        self.pairs += found.pairs;
        self.parts(&found.took, took);
        let rate = |count: u64| count as f64 / took.as_secs_f64().max(1e-9);
        let mut rates = vec![("tokens_per_s", rate(found.tokens))];
        if found.pairs > 0 {
            rates.push(("pairs_per_s", rate(found.pairs)));
        }
        if let Some(megabytes) = peak_memory_mb() {
            rates.push(("peak_memory_mb", megabytes));
        }
        named(rates)
    }

    fn parts(&mut self, parts: &[(&'static str, Duration)], step: Duration) {
        let mut rest = step;
        for &(part, took) in parts {
            *self.parts.entry(part).or_default() += took.as_secs_f64();
            rest = rest.saturating_sub(took);
        }
        if !parts.is_empty() {
            *self.parts.entry("backward_s").or_default() += rest.as_secs_f64();
        }
    }

    /// Seconds and rates of the whole training, after `setup` seconds of
    /// preparation.
    pub(super) fn timings(&self, setup: f64) -> BTreeMap<String, f64> {
        let rate = |count: u64| count as f64 / self.seconds.max(1e-9);
        let mut timings = vec![
            ("setup_s", setup),
            ("work_s", self.seconds),
            ("tokens_per_s", rate(self.tokens)),
        ];
        if self.pairs > 0 {
            timings.push(("pairs_per_s", rate(self.pairs)));
        }
        timings.extend(self.parts.iter().map(|(name, seconds)| (*name, *seconds)));
        named(timings)
    }
}

fn named(values: Vec<(&str, f64)>) -> BTreeMap<String, f64> {
    let named = |(name, value): (&str, f64)| (name.to_owned(), value);
    values.into_iter().map(named).collect()
}
