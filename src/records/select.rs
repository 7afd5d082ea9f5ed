//! `select`: choose among scored responses.

use moreline_formats::rows::read_responses;
use moreline_protocol::artifact::{EXAMPLES, PAIRS};
use moreline_protocol::event::Metrics;
use moreline_protocol::job::{Input, Job};
use moreline_protocol::rows::{ExampleRow, Finish, Message, Response, ResponseRow};
use moreline_protocol::spec::{Select, Strategy};
use serde::Serialize;
use serde_json::json;

use super::best_of::mean_expected_best;
use super::output::write_rows;
use super::{RecordsError, input, metrics};

/// A response that may be chosen, with its score.
type Candidate<'a> = (&'a Response, f64);

/// The best and the worst response of a prompt, as a preference row.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct PairRow<'a> {
    prompt: &'a [Message],
    chosen: &'a str,
    rejected: &'a str,
    score_chosen: f64,
    score_rejected: f64,
}

pub(super) fn run(job: &Job, spec: &Select) -> Result<Metrics, RecordsError> {
    let input = input(job, "responses")?;
    let rows = read_responses(&input.path, input.rows.capped(spec.limit))?;
    let scores = all_scores(input, &rows)?;
    let candidates: Vec<_> = rows.iter().map(|row| candidates(row, spec)).collect();
    let left_out =
        scores.iter().map(Vec::len).sum::<usize>() - candidates.iter().map(Vec::len).sum::<usize>();
    let mut metrics = before(&scores, left_out);
    if spec.strategy.makes_pairs() {
        metrics.extend(write_pairs(job, input, &rows, &candidates)?);
    } else {
        metrics.extend(write_examples(job, input, spec, (&rows, &candidates))?);
    }
    Ok(metrics)
}

/// Every score of every prompt; none may lack.
fn all_scores(input: &Input, rows: &[ResponseRow]) -> Result<Vec<Vec<f64>>, RecordsError> {
    let samples = rows.iter().flat_map(|row| {
        let of_row = row.responses.iter().enumerate();
        of_row.map(move |(sample, response)| (row.id, sample, response.score))
    });
    let mut unscored = samples.filter(|(_, _, score)| score.is_none());
    if let Some((id, sample, _)) = unscored.next() {
        return Err(RecordsError::Unscored {
            path: input.path.clone(),
            count: 1 + unscored.count(),
            id,
            sample,
        });
    }
    let scores = |row: &ResponseRow| row.responses.iter().filter_map(|r| r.score).collect();
    Ok(rows.iter().map(scores).collect())
}

fn candidates<'a>(row: &'a ResponseRow, spec: &Select) -> Vec<Candidate<'a>> {
    let allowed = |r: &&Response| !(spec.drop_unfinished && r.finish == Finish::Length);
    let scored = row.responses.iter().filter(allowed);
    scored.filter_map(|r| Some((r, r.score?))).collect()
}

/// What there was to choose from.
fn before(scores: &[Vec<f64>], left_out: usize) -> Metrics {
    let best_of: Vec<_> = mean_expected_best(scores)
        .into_iter()
        .enumerate()
        .map(|(at, expected)| json!({"n": at + 1, "expected": expected}))
        .collect();
    metrics(json!({
        "prompts": scores.len(),
        "responses": scores.iter().map(Vec::len).sum::<usize>(),
        "unfinished": left_out,
        "mean_before": mean(scores.iter().flatten().copied()),
        "best_of": best_of,
    }))
}

fn write_examples(
    job: &Job,
    input: &Input,
    spec: &Select,
    (rows, candidates): (&[ResponseRow], &[Vec<Candidate<'_>>]),
) -> Result<Metrics, RecordsError> {
    let mut examples = Vec::new();
    let mut without = 0;
    for (row, candidates) in rows.iter().zip(candidates) {
        let chosen = choose(candidates, spec)?;
        without += usize::from(chosen.is_empty());
        examples.extend(chosen.into_iter().map(|(response, score)| ExampleRow {
            prompt: row.prompt.clone(),
            response: response.text.clone(),
            score: Some(score),
        }));
    }
    if examples.is_empty() {
        return Err(nothing(
            input,
            format!("no response of {without} prompts passes"),
        ));
    }
    write_rows(&job.output_dir, EXAMPLES, &examples)?;
    Ok(metrics(json!({
        "selected": examples.len(),
        "prompts_without": without,
        "mean_after": mean(examples.iter().filter_map(|e| e.score)),
    })))
}

/// The chosen candidates, best first where the strategy ranks them; among
/// equals the earlier sample comes first.
fn choose<'a>(
    candidates: &[Candidate<'a>],
    spec: &Select,
) -> Result<Vec<Candidate<'a>>, RecordsError> {
    let ranked = |k: usize| {
        let mut ranked = candidates.to_vec();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(k);
        ranked
    };
    Ok(match spec.strategy {
        Strategy::BestOfN | Strategy::BestWorst => ranked(1),
        Strategy::TopK => ranked(spec.k as usize),
        Strategy::Threshold => {
            let least = spec.threshold.ok_or(RecordsError::NoThreshold)?;
            let enough = candidates.iter().filter(|(_, score)| *score >= least);
            enough.copied().collect()
        }
    })
}

fn write_pairs(
    job: &Job,
    input: &Input,
    rows: &[ResponseRow],
    candidates: &[Vec<Candidate<'_>>],
) -> Result<Metrics, RecordsError> {
    let (mut tied, mut unusable) = (0, 0);
    let mut pairs = Vec::new();
    for (row, candidates) in rows.iter().zip(candidates) {
        let Some((best, worst)) = extremes(candidates) else {
            tied += 1;
            continue;
        };
        let blank = [best.0, worst.0].iter().any(|r| r.text.trim().is_empty());
        if blank || best.0.text == worst.0.text {
            unusable += 1;
            continue;
        }
        pairs.push(PairRow {
            prompt: &row.prompt,
            chosen: &best.0.text,
            rejected: &worst.0.text,
            score_chosen: best.1,
            score_rejected: worst.1,
        });
    }
    if pairs.is_empty() {
        let reason = format!("{tied} prompts are tied, {unusable} have blank or equal texts");
        return Err(nothing(input, reason));
    }
    write_rows(&job.output_dir, PAIRS, &pairs)?;
    Ok(metrics(json!({
        "selected": pairs.len(),
        "tied": tied,
        "blank_or_equal": unusable,
        "mean_after": mean(pairs.iter().map(|pair| pair.score_chosen)),
        "mean_rejected": mean(pairs.iter().map(|pair| pair.score_rejected)),
    })))
}

/// The first best and the first worst candidate; none if all are tied.
fn extremes<'a>(candidates: &[Candidate<'a>]) -> Option<(Candidate<'a>, Candidate<'a>)> {
    let first = *candidates.first()?;
    let (mut best, mut worst) = (first, first);
    for candidate in candidates {
        if candidate.1 > best.1 {
            best = *candidate;
        }
        if candidate.1 < worst.1 {
            worst = *candidate;
        }
    }
    (best.1 > worst.1).then_some((best, worst))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn nothing(input: &Input, reason: String) -> RecordsError {
    RecordsError::Nothing {
        action: "select from",
        path: input.path.clone(),
        reason,
    }
}
