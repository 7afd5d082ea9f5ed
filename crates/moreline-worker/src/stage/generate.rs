//! The `generate` stage around the sampler.

use std::time::Instant;

use moreline_formats::rows::{PromptRow, read_prompts};
use moreline_protocol::artifact;
use moreline_protocol::rows::{FedRow, Finish, Response, ResponseRow};
use moreline_protocol::spec::Generate;
use moreline_text::{PromptForm, Tokenizer};
use serde_json::json;

use super::context::{Context, Outcome, metrics, write_fed, write_rows};
use super::journal::Journal;
use crate::error::WorkerError;
use crate::generate::{PromptTokens, Settings, check, chunks, generate_chunk};
use crate::model::{Head, LoadedModel, compute_kind};
use crate::parallel;
use crate::text::Texts;
use crate::train::FED_ROWS;

/// Samples responses: `responses.jsonl`, `fed.jsonl`.
///
/// # Errors
/// Unreadable inputs, prompts too long for the model.
pub(super) fn generate(context: &Context<'_>, spec: &Generate) -> Result<Outcome, WorkerError> {
    let started = Instant::now();
    let path = &context.input("model")?.path;
    let tokenizer = Tokenizer::load(path)?;
    let model = LoadedModel::open(
        path,
        Head::Language,
        compute_kind(spec.precision),
        context.device,
    )?;
    tokenizer.check_fits(model.decoder.config.vocab_size)?;
    let input = context.input("prompts")?;
    let rows = read_prompts(&input.path, context.rows(input))?;
    let texts = Texts::new(&tokenizer, spec.template);
    let tokens = parallel::map(&rows, |row| texts.prompt(&row.prompt)).into_iter();
    let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
    let fed = fed_rows(&input.name, &tokens, &tokenizer)?;
    let prompts = PromptTokens::of_set(tokens);
    let settings = Settings::from(spec);
    check(&prompts, &settings, &model.decoder.config)?;
    let setup = started.elapsed().as_secs_f64();
    let sampler = Sampler {
        model: &model,
        tokenizer: &tokenizer,
        settings,
        leads_with_space: texts.form() == PromptForm::HumanAssistant,
    };
    let responses = sampler.run(context, &prompts)?;
    let work = started.elapsed().as_secs_f64() - setup;
    let generated: u64 = responses
        .iter()
        .flatten()
        .map(|response| response.tokens)
        .sum();
    let metrics = response_metrics(&responses);
    let rows: Vec<ResponseRow> = rows
        .into_iter()
        .zip(responses)
        .enumerate()
        .map(
            |(id, (PromptRow { prompt, answer }, responses))| ResponseRow {
                id: id as u64,
                prompt,
                responses,
                reference: answer,
            },
        )
        .collect();
    write_rows(&context.output(artifact::RESPONSES), &rows)?;
    write_fed(&context.output(artifact::FED), &fed)?;
    let timings = [
        ("setup_s", setup),
        ("work_s", work),
        ("tokens_per_s", generated as f64 / work.max(1e-9)),
    ];
    Ok(Outcome {
        metrics,
        timings: timings.map(|(name, value)| (name.to_owned(), value)).into(),
    })
}

struct Sampler<'a> {
    model: &'a LoadedModel,
    tokenizer: &'a Tokenizer,
    settings: Settings,
    /// The prompt ends at `Assistant:`, and the space after it is the form's,
    /// not the response's.
    leads_with_space: bool,
}

impl Sampler<'_> {
    /// Generates chunk by chunk; chunks a killed run has finished are taken
    /// from its journal.
    fn run(
        &self,
        context: &Context<'_>,
        prompts: &[PromptTokens],
    ) -> Result<Vec<Vec<Response>>, WorkerError> {
        let mut journal = Journal::<Vec<Response>>::open(&context.job.partial_dir)?;
        let most = self.settings.samples * self.settings.max_new_tokens;
        let total = prompts.len() * most;
        for chunk in chunks(prompts, self.settings.samples) {
            if !journal.has_all(chunk.clone()) {
                let before = chunk.start * most;
                let mut tokens = 0;
                let mut tell = |new: u64| {
                    tokens += new as usize;
                    context
                        .events
                        .progress("generating", before + tokens, total, "tokens");
                };
                let asked = &prompts[chunk.clone()];
                let found =
                    generate_chunk(self.model, self.tokenizer, asked, &self.settings, &mut tell)?;
                let found = found.into_iter().map(|row| self.clean(row));
                journal.append(chunk.clone().zip(found).collect())?;
            }
            context
                .events
                .progress("generating", chunk.end * most, total, "tokens");
        }
        Ok(journal.into_records())
    }

    fn clean(&self, mut responses: Vec<Response>) -> Vec<Response> {
        for response in &mut responses {
            if self.leads_with_space && response.text.starts_with(' ') {
                response.text.remove(0);
            }
        }
        responses
    }
}

fn fed_rows(
    set: &str,
    prompts: &[Vec<u32>],
    tokenizer: &Tokenizer,
) -> Result<Vec<FedRow>, WorkerError> {
    let shown = prompts.iter().take(FED_ROWS as usize).enumerate();
    shown
        .map(|(row, tokens)| {
            Ok(FedRow {
                set: set.to_owned(),
                row: row as u64,
                response: None,
                text: tokenizer.decode(tokens, false)?,
                tokens: tokens.len() as u64,
                truncated: 0,
            })
        })
        .collect()
}

fn response_metrics(responses: &[Vec<Response>]) -> moreline_protocol::event::Metrics {
    let all: Vec<&Response> = responses.iter().flatten().collect();
    let count = all.len().max(1) as f64;
    let tokens: u64 = all.iter().map(|response| response.tokens).sum();
    let finished = all
        .iter()
        .filter(|response| response.finish == Finish::Stop)
        .count();
    let logprob: f64 = all.iter().filter_map(|response| response.logprob).sum();
    metrics(json!({
        "prompts": responses.len(),
        "responses": all.len(),
        "tokens": tokens,
        "mean_tokens": tokens as f64 / count,
        "finished_share": finished as f64 / count,
        "mean_logprob_per_token": logprob / tokens.max(1) as f64,
    }))
}
