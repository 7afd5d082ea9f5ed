//! From prompts to sampled token sequences: the decode loop.

use std::ops::Range;

use super::decode::{Batch, FEWEST_ROWS};
use super::sampler::{Choice, Sampling, Uniforms};
use super::{PromptTokens, Settings};
use crate::error::WorkerError;
use crate::model::LoadedModel;

/// Most rows decoded at once. A constant, so that the numbers do not depend on
/// the machine's settings.
const MOST_ROWS: usize = 64;

/// Most prompt tokens held for the rows decoded at once, padding included.
const MOST_CELLS: usize = 64 * 1024;

/// The tokens sampled for one response.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Continuation {
    /// In order, the one that ended it included.
    pub tokens: Vec<u32>,
    /// Summed log-probability, nats.
    pub logprob: f64,
    /// Whether a token ended it, rather than the limit.
    pub ended: bool,
}

/// Told row and token; says whether the row ends with it.
pub type Ended<'a> = &'a mut dyn FnMut(usize, u32) -> Result<bool, WorkerError>;

/// Rows decoded at once for prompts of up to `longest` tokens.
pub(super) fn rows_at_once(longest: usize) -> usize {
    (MOST_CELLS / longest.max(1)).clamp(FEWEST_ROWS, MOST_ROWS)
}

/// Samples `settings.samples` continuations of every prompt, which must have
/// passed [`super::check`]. Row `p * samples + s` is sample s of prompt p.
/// `on_tokens` is told how many tokens each step added.
///
/// # Errors
/// Logits that are not numbers, and what `ended` returns.
pub fn continue_prompts(
    model: &LoadedModel,
    prompts: &[PromptTokens],
    settings: &Settings,
    ended: Ended<'_>,
    on_tokens: &mut dyn FnMut(u64),
) -> Result<Vec<Continuation>, WorkerError> {
    let rows = prompts.len() * settings.samples;
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max();
    let at_once = rows_at_once(longest.unwrap_or(0));
    let mut done = vec![Continuation::default(); rows];
    for start in (0..rows).step_by(at_once) {
        let range = start..rows.min(start + at_once);
        let mut pass = Pass::new(prompts, settings, range);
        tch::no_grad(|| pass.run(model, ended, on_tokens, &mut done))?;
    }
    Ok(done)
}

/// A row being continued.
struct Row {
    /// Its index among all rows.
    index: usize,
    uniforms: Uniforms,
    choice: Option<Choice>,
    live: bool,
}

/// Rows that are decoded together.
struct Pass<'a> {
    prompts: &'a [PromptTokens],
    settings: &'a Settings,
    rows: Vec<Row>,
}

impl<'a> Pass<'a> {
    fn new(prompts: &'a [PromptTokens], settings: &'a Settings, range: Range<usize>) -> Self {
        let row = |index: usize| {
            let prompt = &prompts[index / settings.samples];
            let sample = (index % settings.samples) as u64;
            Row {
                index,
                uniforms: Uniforms::new(settings.seed, &prompt.tokens, prompt.occurrence, sample),
                choice: None,
                live: true,
            }
        };
        Self {
            prompts,
            settings,
            rows: range.map(row).collect(),
        }
    }

    fn run(
        &mut self,
        model: &LoadedModel,
        ended: Ended<'_>,
        on_tokens: &mut dyn FnMut(u64),
        done: &mut [Continuation],
    ) -> Result<(), WorkerError> {
        let mut batch = self.start(model);
        for step in 1..=self.settings.max_new_tokens {
            let logits = batch.logits();
            sample(&mut self.rows, &logits, &self.settings.sampling);
            on_tokens(self.rows.iter().filter(|row| row.live).count() as u64);
            self.record(ended, done)?;
            let live = self.rows.iter().filter(|row| row.live).count();
            if live == 0 || step == self.settings.max_new_tokens {
                break;
            }
            if live * 2 <= batch.rows() && batch.rows() > FEWEST_ROWS {
                let slots = 0..self.rows.len();
                let kept: Vec<usize> = slots.filter(|&slot| self.rows[slot].live).collect();
                batch.keep(&kept);
                self.rows.retain(|row| row.live);
            }
            // Rows that have ended go on with their last token until they leave.
            let tokens = self
                .rows
                .iter()
                .map(|row| row.choice.map_or(0, |choice| choice.token));
            batch.step(&tokens.collect::<Vec<_>>());
        }
        Ok(())
    }

    fn start<'m>(&self, model: &'m LoadedModel) -> Batch<'m> {
        let owner = |row: &Row| row.index / self.settings.samples;
        let first = self.rows.first().map_or(0, owner);
        let last = self.rows.last().map_or(0, owner);
        let prompts: Vec<&[u32]> = self.prompts[first..=last]
            .iter()
            .map(|prompt| prompt.tokens.as_slice())
            .collect();
        let owners: Vec<usize> = self.rows.iter().map(|row| owner(row) - first).collect();
        Batch::start(model, &prompts, &owners, self.settings.max_new_tokens - 1)
    }

    /// Adds the choices of the live rows to their continuations.
    fn record(&mut self, ended: Ended<'_>, done: &mut [Continuation]) -> Result<(), WorkerError> {
        for row in self.rows.iter_mut().filter(|row| row.live) {
            let Some(choice) = row.choice else {
                let prompt = self.prompts[row.index / self.settings.samples].row;
                return Err(not_numbers(prompt));
            };
            let continuation = &mut done[row.index];
            continuation.tokens.push(choice.token);
            continuation.logprob += choice.logprob;
            continuation.ended = ended(row.index, choice.token)?;
            row.live = !continuation.ended;
        }
        Ok(())
    }
}

/// Chooses for every live row from its part of `logits`, rows spread over the
/// compute threads.
fn sample(rows: &mut [Row], logits: &[f32], sampling: &Sampling) {
    let vocabulary = logits.len() / rows.len();
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1);
    let share = rows.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for (rows, logits) in rows
            .chunks_mut(share)
            .zip(logits.chunks(share * vocabulary))
        {
            scope.spawn(move || {
                for (row, logits) in rows.iter_mut().zip(logits.chunks(vocabulary)) {
                    if row.live {
                        let uniform = if sampling.is_greedy() {
                            0.0
                        } else {
                            row.uniforms.draw()
                        };
                        row.choice = sampling.choose(logits, uniform);
                    }
                }
            });
        }
    });
}

fn not_numbers(prompt: u64) -> WorkerError {
    WorkerError::input(
        format!("generate for prompt {prompt} (from 0): the model's logits are not numbers"),
        "check the model's files; a model trained here may have diverged: lower its `lr`",
    )
}
