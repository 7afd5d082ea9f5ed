//! `evaluate-reward` and `perplexity`.

mod calibrated;
mod columns;
mod compared;
mod lengths;
mod measures;
mod perplexity;
mod rows;
mod several;

use std::time::Instant;

use moreline_protocol::artifact;
use moreline_protocol::event::Metrics;
use moreline_protocol::rows::{EvaluationRow, FedRow};
use moreline_protocol::spec::EvaluateReward;
use serde_json::{Map, json};

pub(crate) use compared::Compared;
pub use perplexity::{perplexity, sequence_logprobs};
pub(crate) use rows::{Reader, Row};

use crate::batch::Group;
use crate::error::WorkerError;
use crate::score::{RewardModel, Rewards, combine, count_tokens, fed_as, members, timings};
use crate::stage::context::{Context, Outcome, metrics, write_fed, write_rows};

/// Accuracy and calibration per set and over all: `records.jsonl`, `fed.jsonl`.
///
/// # Errors
/// Unreadable inputs, a set without a decided pair, rewards that are not finite.
pub fn evaluate_reward(
    context: &Context<'_>,
    spec: &EvaluateReward,
) -> Result<Outcome, WorkerError> {
    let started = Instant::now();
    let (mut records, mut fed) = (Vec::new(), Vec::new());
    let mut given: Vec<(String, Rewards)> = Vec::new();
    let (mut setup, mut tokens) = (0.0, 0);
    for member in members(context, spec.precision) {
        let (before, member) = (Instant::now(), member?);
        let rows = read_sets(context, spec, (&member.model, member.name), &mut fed)?;
        let groups: Vec<Group> = rows.iter().map(|row| row.group.clone()).collect();
        setup += before.elapsed().as_secs_f64();
        given.push((member.name.to_owned(), member.score(context, &groups)?));
        tokens += count_tokens(&groups);
        if records.is_empty() {
            records = rows.into_iter().map(unscored).collect();
        }
    }
    let work = started.elapsed().as_secs_f64() - setup;
    let names: Vec<&str> = context
        .job
        .inputs_of("data")
        .map(|i| i.name.as_str())
        .collect();
    give_rewards(&mut records, &names, given, spec)?;
    let metrics = figures(&records, &names, spec)?;
    write_rows(&context.output(artifact::RECORDS), &records)?;
    write_fed(&context.output(artifact::FED), &fed)?;
    Ok(Outcome {
        metrics,
        timings: timings(setup, work, tokens),
    })
}

/// All sets as one model reads them.
fn read_sets(
    context: &Context<'_>,
    spec: &EvaluateReward,
    (model, name): (&RewardModel, &str),
    fed: &mut Vec<FedRow>,
) -> Result<Vec<Row>, WorkerError> {
    let reader = Reader {
        tokenizer: &model.tokenizer,
        text: &model.text,
        pairs: spec.pairs,
    };
    let (mut rows, mut own) = (Vec::new(), Vec::new());
    for input in context.job.inputs_of("data") {
        rows.extend(reader.read(context, input, &mut own)?);
    }
    let models = spec.model.names().len();
    fed.extend(own.into_iter().map(|row| FedRow {
        set: fed_as(&row.set, name, models),
        ..row
    }));
    Ok(rows)
}

fn unscored(row: Row) -> EvaluationRow {
    EvaluationRow {
        set: row.set,
        row: row.row as u64,
        scores: row.scores,
        tokens: row.group.lengths.iter().map(|&n| n as u64).collect(),
        ..EvaluationRow::default()
    }
}

/// Gives the records, which are in the order of their sets, their rewards and pairs.
fn give_rewards(
    records: &mut [EvaluationRow],
    names: &[&str],
    mut given: Vec<(String, Rewards)>,
    spec: &EvaluateReward,
) -> Result<(), WorkerError> {
    let rewards = match given.as_mut_slice() {
        [(_, only)] => std::mem::take(only),
        several => {
            let mut combined = Rewards::with_capacity(records.len());
            for name in names {
                // Standardised over one set at a time.
                let own = records.iter().filter(|record| record.set == *name).count();
                let range = combined.len()..combined.len() + own;
                let models: Vec<&[Vec<f64>]> = several
                    .iter()
                    .map(|(_, rewards)| &rewards[range.clone()])
                    .collect();
                combined.extend(combine(&models, spec.combine)?);
            }
            for (name, rewards) in several {
                for (record, rewards) in records.iter_mut().zip(std::mem::take(rewards)) {
                    record.models.insert(name.clone(), rewards);
                }
            }
            combined
        }
    };
    for (record, rewards) in records.iter_mut().zip(rewards) {
        record.rewards = rewards;
        columns::add_pairs(record).map_err(|e| {
            let (row, set) = (record.row, &record.set);
            WorkerError::input(
                format!("evaluate row {row} of `{set}`: {e}"),
                "scores and rewards must be finite numbers; look at the row and the model",
            )
        })?;
    }
    Ok(())
}

/// Figures of each set, their means, and those of all sets' records together.
fn figures(
    records: &[EvaluationRow],
    names: &[&str],
    spec: &EvaluateReward,
) -> Result<Metrics, WorkerError> {
    let mut sets = Map::new();
    for name in names {
        let own: Vec<&EvaluationRow> = records.iter().filter(|r| r.set == *name).collect();
        sets.insert((*name).to_owned(), measures::of_set(name, &own, spec)?);
    }
    let mut found = metrics(json!({ "mean": measures::mean_over(&sets) }));
    if names.len() > 1 {
        let all: Vec<&EvaluationRow> = records.iter().collect();
        found.insert("pooled".into(), measures::of_set("all sets", &all, spec)?);
    }
    found.insert("sets".into(), sets.into());
    Ok(found)
}
