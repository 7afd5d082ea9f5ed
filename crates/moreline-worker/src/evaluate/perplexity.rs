//! `perplexity`.

use std::time::Instant;

use moreline_protocol::artifact;
use moreline_protocol::rows::PerplexityRow;
use moreline_protocol::spec::{Perplexity, Truncation};
use moreline_text::Tokenizer;
use serde_json::{Map, Value, json};
use tch::{Kind, no_grad};

use crate::batch::{Group, Packed, micro};
use crate::error::WorkerError;
use crate::head::to_vec;
use crate::labels::{self, Examples, LabelPlan, Labelled, Shape};
use crate::lm_head::log_probabilities;
use crate::model::{Head, LoadedModel, compute_kind};
use crate::network;
use crate::score::{count_tokens, timings};
use crate::stage::context::{Context, Outcome, metrics, write_fed, write_rows};
use crate::stage::journal::Journal;

/// Perplexity per set and over all: `records.jsonl`, `fed.jsonl`.
///
/// # Errors
/// Unreadable inputs, log-probabilities that are not finite.
pub fn perplexity(context: &Context<'_>, spec: &Perplexity) -> Result<Outcome, WorkerError> {
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
    let shape = Shape {
        template: spec.template,
        count: spec.count,
        max_length: (spec.max_length as usize).min(model.decoder.config.max_positions),
        truncation: Truncation::Left,
    };
    let examples = labels::read(context, &tokenizer, shape)?;
    let setup = started.elapsed().as_secs_f64();
    let logprobs = measure(context, &model, &examples)?;
    let records: Vec<PerplexityRow> = examples
        .rows
        .iter()
        .zip(logprobs)
        .map(|(row, logprob)| PerplexityRow {
            set: examples.names[row.set].clone(),
            row: row.row as u64,
            logprob,
            tokens: row.count() as u64,
        })
        .collect();
    write_rows(&context.output(artifact::RECORDS), &records)?;
    write_fed(&context.output(artifact::FED), &examples.fed)?;
    let sets: Map<String, Value> = examples
        .names
        .iter()
        .map(|name| {
            let own: Vec<&PerplexityRow> = records.iter().filter(|r| r.set == *name).collect();
            (name.clone(), of_records(&own))
        })
        .collect();
    let whole = of_records(&records.iter().collect::<Vec<_>>());
    let work = started.elapsed().as_secs_f64() - setup;
    let groups: Vec<Group> = examples.rows.into_iter().map(|row| row.group).collect();
    Ok(Outcome {
        metrics: metrics(json!({
            "sets": sets,
            "perplexity": whole["perplexity"],
            "nll_per_token": whole["nll_per_token"],
            "dropped": examples.dropped,
            "truncated": examples.truncated,
        })),
        timings: timings(setup, work, count_tokens(&groups)),
    })
}

/// exp of the mean negative log-probability per token.
fn of_records(records: &[&PerplexityRow]) -> Value {
    let tokens: u64 = records.iter().map(|record| record.tokens).sum();
    let nll = -records.iter().map(|record| record.logprob).sum::<f64>() / tokens.max(1) as f64;
    json!({
        "perplexity": nll.exp(),
        "nll_per_token": nll,
        "tokens": tokens,
        "records": records.len(),
    })
}

/// Summed log-probability of each example's counted tokens.
fn measure(
    context: &Context<'_>,
    model: &LoadedModel,
    examples: &Examples,
) -> Result<Vec<f64>, WorkerError> {
    let rows = &examples.rows;
    let mut journal = Journal::<f64>::open(&context.job.partial_dir)?;
    let sizes: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
    for run in micro::cut(&sizes, context.token_budget()) {
        if !journal.has_all(run.clone()) {
            let found = sequence_logprobs(model, &rows[run.clone()].iter().collect::<Vec<_>>());
            if let Some(bad) = found.iter().position(|value| !value.is_finite()) {
                let Labelled { set, row, .. } = rows[run.start + bad];
                let set = &examples.names[set];
                return Err(WorkerError::input(
                    format!(
                        "measure perplexity: the log-probability of row {row} (from 0) of \
                         `{set}` is not finite"
                    ),
                    "the model's weights hold NaN or infinity",
                ));
            }
            journal.append(run.clone().zip(found).collect())?;
        }
        context
            .events
            .progress("measuring", run.end, rows.len(), "records");
    }
    Ok(journal.into_records())
}

/// Summed log-probability (nats) of each example's counted tokens, one packed batch.
pub fn sequence_logprobs(model: &LoadedModel, rows: &[&Labelled]) -> Vec<f64> {
    let LoadedModel {
        decoder,
        flats,
        device,
    } = model;
    let groups = rows.iter().map(|row| &row.group);
    let packed = Packed::new(groups, &decoder.config, model.kind(), *device);
    let plan = LabelPlan::new(&packed, rows, *device);
    let values = no_grad(|| {
        let x = network::hidden(decoder, flats, &packed).index_select(0, &plan.index);
        let normed = decoder.norm(&flats[decoder.norm_index()], &x.to_kind(Kind::Float));
        let head = decoder.head_matrix(&flats[decoder.head_index()]);
        log_probabilities(&normed.to_kind(model.kind()), &head, &plan.labels)
    });
    let mut rest = to_vec(&values);
    plan.counts
        .iter()
        .map(|&count| rest.drain(..count).sum())
        .collect()
}
