//! Choosing a token from one row of logits, in plain Rust: a pure function of
//! the logits and one uniform number.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use super::exponential::{BLOCK, exp_sums, largest};

/// Candidates are first sought within this many nats of the likeliest token;
/// what is less likely carries under a thousandth of its probability each.
const FIRST_REACH: f64 = 8.0;

/// How a token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the likeliest token.
    pub temperature: f64,
    /// Keep the smallest set of likeliest tokens with at least this
    /// probability; 1 keeps all.
    pub top_p: f64,
    /// Keep this many of the likeliest tokens, before `top_p`; 0 keeps all.
    pub top_k: usize,
}

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Its id.
    pub token: u32,
    /// Its log-probability (nats) by the logits as they came: temperature 1,
    /// all tokens.
    pub logprob: f64,
}

impl Sampling {
    /// The likeliest token, the lowest id among equals.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
    };

    /// Whether the likeliest token is taken. Temperatures whose inverse is no
    /// fp32 number count as 0.
    pub fn is_greedy(&self) -> bool {
        self.temperature < f64::from(f32::MIN_POSITIVE)
    }

    /// Chooses from `logits`, one per token id, by inverting the cumulative
    /// distribution at `uniform` in [0, 1). `None` if the logits are not
    /// numbers: NaN, plus infinity, or minus infinity all over.
    pub fn choose(&self, logits: &[f32], uniform: f64) -> Option<Choice> {
        let max = largest(logits);
        let sums = exp_sums(logits, max, 1.0);
        let total: f64 = sums.iter().sum();
        if !total.is_finite() {
            return None;
        }
        let token = if self.is_greedy() {
            logits.iter().position(|&l| l == max)?
        } else if self.restricts(logits.len()) {
            let known = (self.temperature == 1.0).then_some(total);
            pick(&self.filtered(logits, max, known), uniform)
        } else if self.temperature == 1.0 {
            invert(logits, max, 1.0, &sums, uniform)
        } else {
            let scale = 1.0 / self.temperature;
            invert(logits, max, scale, &exp_sums(logits, max, scale), uniform)
        };
        let logprob = f64::from(logits[token]) - f64::from(max) - total.ln();
        Some(Choice {
            token: token as u32,
            logprob,
        })
    }

    fn restricts(&self, vocabulary: usize) -> bool {
        self.top_p < 1.0 || self.keeps(vocabulary) < vocabulary
    }

    fn keeps(&self, vocabulary: usize) -> usize {
        if self.top_k == 0 {
            vocabulary
        } else {
            self.top_k.min(vocabulary)
        }
    }

    /// The tokens that `top_k`, then `top_p` leave, likeliest first (the lower
    /// id among equals), each with its weight: its probability at the
    /// temperature, relative to the likeliest token's. Logits must be numbers
    /// and the temperature above 0.
    pub fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        self.filtered(logits, largest(logits), None)
    }

    /// [`Self::candidates`]; `known` is the weight of all tokens, if known.
    fn filtered(&self, logits: &[f32], max: f32, known: Option<f64>) -> Vec<(u32, f64)> {
        let scale = 1.0 / self.temperature;
        let keep = self.keeps(logits.len());
        // Without top-k, probabilities are of all tokens, otherwise of the kept.
        let total: Option<f64> = (keep == logits.len())
            .then(|| known.unwrap_or_else(|| exp_sums(logits, max, scale).iter().sum()));
        let weight = |logit: f32| ((f64::from(logit) - f64::from(max)) * scale).exp();
        let mut reach = FIRST_REACH * self.temperature;
        loop {
            let floor = (f64::from(max) - reach) as f32;
            let mut found = at_least(logits, floor);
            let all = found.len() == logits.len();
            reach *= 2.0;
            if !all && total.is_none() && found.len() < keep {
                continue;
            }
            found.truncate(keep);
            let weighted: Vec<(u32, f64)> = found.iter().map(|&(l, id)| (id, weight(l))).collect();
            let total = total.unwrap_or_else(|| weighted.iter().map(|(_, w)| w).sum());
            let nucleus = (self.top_p < 1.0).then(|| nucleus(&weighted, self.top_p * total));
            match nucleus.flatten() {
                Some(len) => return weighted[..len].to_vec(),
                None if all || keep < logits.len() => return weighted,
                None => {}
            }
        }
    }
}

/// Tokens whose logit is at least `floor`, largest first, then by id.
fn at_least(logits: &[f32], floor: f32) -> Vec<(f32, u32)> {
    let mut found: Vec<(f32, u32)> = Vec::new();
    for (id, &logit) in logits.iter().enumerate() {
        if logit >= floor {
            found.push((logit, id as u32));
        }
    }
    found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found
}

/// Length of the shortest prefix that weighs at least `enough`.
fn nucleus(weighted: &[(u32, f64)], enough: f64) -> Option<usize> {
    let mut sum = 0.0;
    let reached = weighted.iter().position(|(_, weight)| {
        sum += weight;
        sum >= enough
    });
    reached.map(|last| last + 1)
}

/// The candidate at `uniform` of the cumulative weight.
fn pick(candidates: &[(u32, f64)], uniform: f64) -> usize {
    let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
    let mut rest = uniform * total;
    for &(id, weight) in candidates {
        if rest < weight {
            return id as usize;
        }
        rest -= weight;
    }
    candidates.first().map_or(0, |&(id, _)| id as usize)
}

/// The token at `uniform` of the cumulative distribution over all tokens in
/// order of their ids; `sums` are those of [`exp_sums`].
fn invert(logits: &[f32], max: f32, scale: f64, sums: &[f64], uniform: f64) -> usize {
    let mut rest = uniform * sums.iter().sum::<f64>();
    let heaviest = |a: usize, b: usize| if sums[b] > sums[a] { b } else { a };
    let mut block = (0..sums.len()).reduce(heaviest).unwrap_or(0);
    for (i, &sum) in sums.iter().enumerate() {
        if rest < sum {
            block = i;
            break;
        }
        rest -= sum;
    }
    let start = block * BLOCK;
    let mut last = start;
    for (i, &logit) in logits[start..].iter().take(BLOCK).enumerate() {
        let weight = ((f64::from(logit) - f64::from(max)) * scale).exp();
        if weight > 0.0 {
            last = start + i;
        }
        if rest < weight {
            return last;
        }
        rest -= weight;
    }
    // Rounding left a little over: the block's last token.
    last
}

/// The source of uniform numbers of one response. It depends on nothing but
/// its arguments: not on the batch, not on what was sampled before.
#[derive(Debug, Clone)]
pub struct Uniforms(ChaCha8Rng);

impl Uniforms {
    /// For sample `sample` of the `occurrence`-th prompt (both from 0) with
    /// the tokens `prompt` in its set.
    pub fn new(seed: u64, prompt: &[u32], occurrence: u64, sample: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"moreline generate 1\n");
        hash.update(seed.to_le_bytes());
        hash.update((prompt.len() as u64).to_le_bytes());
        for token in prompt {
            hash.update(token.to_le_bytes());
        }
        hash.update(occurrence.to_le_bytes());
        hash.update(sample.to_le_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// The next number, in [0, 1), with 53 random bits.
    pub fn draw(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
