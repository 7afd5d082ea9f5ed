//! `evaluate-reward` and `perplexity`.

mod measures;
mod perplexity;
mod rows;

use std::time::Instant;

use moreline_protocol::artifact;
use moreline_protocol::rows::EvaluationRow;
use moreline_protocol::spec::EvaluateReward;
use serde_json::json;

pub(crate) use measures::Compared;
pub use perplexity::{perplexity, sequence_logprobs};
pub(crate) use rows::{Reader, Row};

use crate::batch::Group;
use crate::error::WorkerError;
use crate::score::{RewardModel, score_groups, timings};
use crate::stage::context::{Context, Outcome, metrics, write_fed, write_rows};

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
    let reader = Reader {
        tokenizer: &model.tokenizer,
        text: &model.text,
        pairs: spec.pairs,
    };
    let (mut names, mut rows, mut fed) = (Vec::new(), Vec::new(), Vec::new());
    for input in context.job.inputs_of("data") {
        names.push(input.name.clone());
        rows.extend(reader.read(context, input, &mut fed)?);
    }
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
