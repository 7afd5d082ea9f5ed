//! Sampling responses.
//!
//! * [`sampler`]: one token from one row of logits (plain Rust; its sums of
//!   exponentials in `exponential`).
//! * `prefill`, `cache`, `decode`: prompts packed, then one token per row and
//!   step over cached keys and values.
//! * [`tokens`]: the loop over passes and steps.
//! * `ending`: stop tokens, stop strings and text.
//!
//! Prompts are cut into fixed [`chunks`] in the order of the data and random
//! numbers belong to a prompt and sample, so a run that goes on where another
//! was stopped writes the same responses.

mod cache;
mod decode;
mod ending;
mod exponential;
mod prefill;
pub mod sampler;
pub mod tokens;

use std::collections::HashMap;
use std::ops::Range;

use moreline_formats::ModelConfig;
use moreline_protocol::rows::{Finish, Response};
use moreline_protocol::spec;
use moreline_text::Tokenizer;

use crate::error::WorkerError;
use crate::model::LoadedModel;
use ending::{Ends, Transcript};
use sampler::Sampling;
use tokens::{Continuation, continue_prompts, rows_at_once};

/// What is asked of the sampler, for every prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Responses per prompt; at least 1.
    pub samples: usize,
    /// Most tokens of a response; at least 1.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Strings that end a response.
    pub stop: Vec<String>,
    /// Of the stage.
    pub seed: u64,
}

impl From<&spec::Generate> for Settings {
    fn from(spec: &spec::Generate) -> Self {
        Self {
            samples: spec.samples.max(1) as usize,
            max_new_tokens: spec.max_new_tokens.max(1) as usize,
            sampling: Sampling {
                temperature: spec.temperature,
                top_p: spec.top_p,
                top_k: spec.top_k as usize,
            },
            stop: spec.stop.clone(),
            seed: spec.seed,
        }
    }
}

/// A prompt of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTokens {
    /// Its row in the set, from 0; for messages.
    pub row: u64,
    /// Its tokens, special ones included.
    pub tokens: Vec<u32>,
    /// How many prompts before it in the set have the same tokens.
    pub occurrence: u64,
}

impl PromptTokens {
    /// The prompts of a whole set, in order.
    pub fn of_set(prompts: Vec<Vec<u32>>) -> Vec<Self> {
        let mut seen: HashMap<Vec<u32>, u64> = HashMap::new();
        let number = |(row, tokens): (usize, Vec<u32>)| {
            let count = seen.entry(tokens.clone()).or_default();
            *count += 1;
            Self {
                row: row as u64,
                tokens,
                occurrence: *count - 1,
            }
        };
        prompts.into_iter().enumerate().map(number).collect()
    }
}

/// Refuses prompts that the model cannot continue by `max_new_tokens`.
///
/// # Errors
/// Empty or over-long prompts and ids without an embedding, naming the row.
pub fn check(
    prompts: &[PromptTokens],
    settings: &Settings,
    config: &ModelConfig,
) -> Result<(), WorkerError> {
    for PromptTokens { row, tokens, .. } in prompts {
        let failed = |reason: String| format!("generate for prompt {row} (from 0): {reason}");
        if tokens.is_empty() {
            let message = failed("it has no tokens".into());
            return Err(WorkerError::input(
                message,
                "remove it, or use a template that adds to it",
            ));
        }
        let (length, more, most) = (tokens.len(), settings.max_new_tokens, config.max_positions);
        if length + more > most {
            let message = failed(format!(
                "over-long prompt: its {length} tokens and {more} new ones are more than the \
                 {most} positions of the model"
            ));
            let hint =
                "remove the prompt, lower `max_new_tokens`, or use a model with more positions";
            return Err(WorkerError::input(message, hint));
        }
        if let Some(id) = tokens.iter().find(|&&id| id as usize >= config.vocab_size) {
            let size = config.vocab_size;
            let message = failed(format!(
                "token id {id} is beyond the model's {size} embeddings"
            ));
            return Err(WorkerError::input(
                message,
                "use the tokenizer that came with the model",
            ));
        }
    }
    Ok(())
}

/// Cuts the prompts of a set, in order, into chunks for [`generate_chunk`].
/// They depend on nothing but the prompts and the number of samples.
pub fn chunks(prompts: &[PromptTokens], samples: usize) -> Vec<Range<usize>> {
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let mut longest = 0;
    for (i, prompt) in prompts.iter().enumerate() {
        let joined = prompt.tokens.len().max(longest);
        match chunks.last_mut() {
            Some(chunk) if (chunk.len() + 1) * samples <= rows_at_once(joined) => {
                chunk.end = i + 1;
                longest = joined;
            }
            _ => {
                chunks.push(i..i + 1);
                longest = prompt.tokens.len();
            }
        }
    }
    chunks
}

/// Samples the responses to each of `prompts`, in order. `on_tokens` is told
/// how many tokens each decode step added.
///
/// # Errors
/// Those of [`check`], logits that are not numbers, those of the tokenizer.
pub fn generate_chunk(
    model: &LoadedModel,
    tokenizer: &Tokenizer,
    prompts: &[PromptTokens],
    settings: &Settings,
    on_tokens: &mut dyn FnMut(u64),
) -> Result<Vec<Vec<Response>>, WorkerError> {
    let config = &model.decoder.config;
    check(prompts, settings, config)?;
    let ends = Ends::new(config, tokenizer, &settings.stop);
    let mut texts = vec![Transcript::default(); prompts.len() * settings.samples];
    let mut ended = |row: usize, token: u32| texts[row].push(token, &ends, tokenizer);
    let done = continue_prompts(model, prompts, settings, &mut ended, on_tokens)?;
    let mut responses = done
        .into_iter()
        .zip(texts)
        .map(|(continuation, text)| Ok(response(continuation, text.finish(tokenizer)?)));
    let one = |_| responses.by_ref().take(settings.samples).collect();
    prompts.iter().map(one).collect()
}

fn response(continuation: Continuation, text: String) -> Response {
    Response {
        text,
        tokens: continuation.tokens.len() as u64,
        finish: if continuation.ended {
            Finish::Stop
        } else {
            Finish::Length
        },
        logprob: Some(continuation.logprob),
        score: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(lengths: &[usize]) -> Vec<PromptTokens> {
        PromptTokens::of_set(lengths.iter().map(|&n| vec![1; n]).collect())
    }

    #[test]
    fn equal_prompts_are_numbered() {
        let occurrences: Vec<u64> = prompts(&[3, 4, 3, 3])
            .iter()
            .map(|p| p.occurrence)
            .collect();
        assert_eq!(occurrences, [0, 0, 1, 2]);
    }

    #[test]
    fn chunks_hold_at_most_64_rows_and_fewer_long_ones() {
        assert_eq!(chunks(&prompts(&[5; 130]), 1), [0..64, 64..128, 128..130]);
        assert_eq!(chunks(&prompts(&[5; 5]), 30), [0..2, 2..4, 4..5]);
        assert_eq!(chunks(&prompts(&[5; 2]), 100), [0..1, 1..2]);
        assert_eq!(chunks(&prompts(&[4096, 4096, 5]), 8), [0..2, 2..3]);
        assert!(chunks(&[], 4).is_empty());
    }
}
