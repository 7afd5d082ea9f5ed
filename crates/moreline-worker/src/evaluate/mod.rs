//! `evaluate-reward` and `perplexity`.

mod measures;
mod perplexity;

use std::time::Instant;

use moreline_formats::rows::{check_preferences, read_preferences};
use moreline_protocol::artifact;
use moreline_protocol::rows::{EvaluationRow, FedRow};
use moreline_protocol::spec::EvaluateReward;
use serde_json::json;

pub use perplexity::{perplexity, sequence_logprobs};

use crate::batch::Group;
use crate::error::WorkerError;
use crate::score::{RewardModel, score_groups, timings};
use crate::stage::context::{Context, Outcome, metrics, write_fed, write_rows};
use crate::text::Texts;
use crate::train::FED_ROWS;

/// One row of a set with its sequences.
struct Row {
    set: String,
    row: usize,
    scores: Vec<f64>,
    group: Group,
}

/// Accuracy and calibration per set: `records.jsonl`, `fed.jsonl`.
///
/// # Errors
/// Unreadable inputs, a set without a decided pair, rewards that are not finite.
pub fn evaluate_reward(
    context: &Context<'_>,
    spec: &EvaluateReward,
) -> Result<Outcome, WorkerError> {
    let started = Instant::now();
    let path = &context.input("model")?.path;
    let model = RewardModel::open(path, spec.precision, context.device, context.token_budget())?;
    let mut fed = Vec::new();
    let (names, rows) = read_rows(context, spec, &model, &mut fed)?;
    let groups: Vec<Group> = rows.iter().map(|row| row.group.clone()).collect();
    let setup = started.elapsed().as_secs_f64();
    let rewards = score_groups(context, &model, &groups)?;
    let work = started.elapsed().as_secs_f64() - setup;
    let records: Vec<EvaluationRow> = rows
        .into_iter()
        .zip(rewards)
        .map(|(row, rewards)| EvaluationRow {
            set: row.set,
            row: row.row as u64,
            scores: row.scores,
            rewards,
            tokens: row.group.lengths.iter().map(|&n| n as u64).collect(),
        })
        .collect();
    let mut sets = serde_json::Map::new();
    for name in &names {
        let own: Vec<&EvaluationRow> = records
            .iter()
            .filter(|record| record.set == *name)
            .collect();
        sets.insert(name.clone(), measures::of_set(&own, spec)?);
    }
    let mean = measures::mean_over(&sets);
    write_rows(&context.output(artifact::RECORDS), &records)?;
    write_fed(&context.output(artifact::FED), &fed)?;
    Ok(Outcome {
        metrics: metrics(json!({ "sets": sets, "mean": mean })),
        timings: timings(setup, work, &groups),
    })
}

fn read_rows(
    context: &Context<'_>,
    spec: &EvaluateReward,
    model: &RewardModel,
    fed: &mut Vec<FedRow>,
) -> Result<(Vec<String>, Vec<Row>), WorkerError> {
    let texts = Texts::new(&model.tokenizer, model.text.template);
    let (mut names, mut rows) = (Vec::new(), Vec::new());
    for input in context.job.inputs_of("data") {
        names.push(input.name.clone());
        let read = read_preferences(&input.path, context.rows(input))?;
        check_preferences(&input.path, &read)?;
        for (index, row) in read.iter().enumerate() {
            let (sequences, scores) = texts.preference(row, spec.pairs)?;
            let mut kept = Vec::with_capacity(sequences.len());
            for (response, tokens) in sequences.into_iter().enumerate() {
                let sequence = model.fit(tokens);
                if (index as u64) < FED_ROWS {
                    fed.push(FedRow {
                        set: input.name.clone(),
                        row: index as u64,
                        response: Some(response as u64),
                        text: model.tokenizer.decode(&sequence.tokens, false)?,
                        tokens: sequence.tokens.len() as u64,
                        truncated: sequence.truncated as u64,
                    });
                }
                kept.push(sequence.tokens);
            }
            let group = Group::share(&kept);
            rows.push(Row {
                set: input.name.clone(),
                row: index,
                scores,
                group,
            });
        }
    }
    Ok((names, rows))
}
