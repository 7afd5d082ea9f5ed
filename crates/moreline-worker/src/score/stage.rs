//! `score`, and the scoring half of an embedded `judge`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use moreline_formats::rows::read_responses;
use moreline_protocol::artifact;
use moreline_protocol::event::Metrics;
use moreline_protocol::rows::{FedRow, JudgedRow, Response, ResponseRow};
use moreline_protocol::spec::{Judge, Score};
use moreline_stats::describe;
use serde_json::json;

use super::{RewardModel, Rewards, combine, members};
use crate::batch::Group;
use crate::error::WorkerError;
use crate::parallel;
use crate::stage::context::{Context, Outcome, metrics, write_fed, write_rows};
use crate::stage::journal::{self, Journal};
use crate::text::Texts;
use crate::train::FED_ROWS;

/// Scores every response: `responses.jsonl`, `fed.jsonl`.
///
/// # Errors
/// Unreadable inputs, rewards that are not finite.
pub fn score(context: &Context<'_>, spec: &Score) -> Result<Outcome, WorkerError> {
    let started = Instant::now();
    let input = context.input("responses")?;
    let mut rows = read_responses(&input.path, context.rows(input))?;
    let (mut fed, mut given) = (Vec::new(), Vec::<(String, Rewards)>::new());
    let (mut setup, mut tokens) = (started.elapsed().as_secs_f64(), 0);
    for member in members(context, spec.precision) {
        let (before, member) = (Instant::now(), member?);
        let set = fed_as(&input.name, member.name, spec.model.names().len());
        let groups = response_groups(&member.model, &set, &rows, &mut fed)?;
        setup += before.elapsed().as_secs_f64();
        given.push((member.name.to_owned(), member.score(context, &groups)?));
        tokens += count_tokens(&groups);
    }
    let rewards = match given.as_mut_slice() {
        [(_, only)] => std::mem::take(only),
        several => {
            let several: Vec<&[Vec<f64>]> = several.iter().map(|(_, r)| r.as_slice()).collect();
            combine(&several, spec.combine)?
        }
    };
    for (row, rewards) in rows.iter_mut().zip(&rewards) {
        for (response, reward) in row.responses.iter_mut().zip(rewards) {
            response.score = Some(*reward);
        }
    }
    write_rows(&context.output(artifact::RESPONSES), &rows)?;
    write_fed(&context.output(artifact::FED), &fed)?;
    let work = started.elapsed().as_secs_f64() - setup;
    let mut found = score_metrics(&rewards);
    if given.len() > 1 {
        let own = given
            .iter()
            .map(|(name, rewards)| (name.clone(), score_metrics(rewards).into()));
        found.insert("models".into(), own.collect::<Metrics>().into());
    }
    Ok(Outcome {
        metrics: found,
        timings: timings(setup, work, tokens),
    })
}

/// What a set is called among the texts fed, if several models read it.
pub(crate) fn fed_as(set: &str, model: &str, models: usize) -> String {
    match models {
        0 | 1 => set.to_owned(),
        _ => format!("{set} ({model})"),
    }
}

/// Computes or takes from the journal of that name the rewards of all groups.
pub(super) fn score_groups(
    context: &Context<'_>,
    model: &RewardModel,
    groups: &[Group],
    (journal, phase): (&str, &str),
) -> Result<Rewards, WorkerError> {
    let path = context.job.partial_dir.join(journal);
    let mut journal = Journal::<Vec<f64>>::open_file(&path)?;
    for run in model.runs(groups) {
        if !journal.has_all(run.clone()) {
            let rewards = model.rewards(&groups[run.clone()])?;
            journal.append(run.clone().zip(rewards).collect())?;
        }
        context
            .events
            .progress(phase, run.end, groups.len(), "prompts");
    }
    Ok(journal.into_records())
}

fn response_groups(
    model: &RewardModel,
    set: &str,
    rows: &[ResponseRow],
    fed: &mut Vec<FedRow>,
) -> Result<Vec<Group>, WorkerError> {
    let texts = Texts::new(&model.tokenizer, model.text.template);
    let mut groups = Vec::with_capacity(rows.len());
    let made = parallel::map(rows, |row| {
        let reply = |r: &Response| texts.reward_of_reply(&row.prompt, &r.text);
        row.responses
            .iter()
            .map(reply)
            .collect::<Result<Vec<_>, _>>()
    });
    for (index, made) in made.into_iter().enumerate() {
        let made = made?;
        let mut sequences = Vec::with_capacity(made.len());
        for (number, tokens) in made.into_iter().enumerate() {
            let sequence = model.fit(tokens);
            if (index as u64) < FED_ROWS {
                fed.push(sequence.fed(&model.tokenizer, set, index, Some(number))?);
            }
            sequences.push(sequence.tokens);
        }
        groups.push(Group::share(&sequences));
    }
    Ok(groups)
}

/// What is not defined (the spread of one response) is left out.
fn score_metrics(rewards: &[Vec<f64>]) -> Metrics {
    let all: Vec<f64> = rewards.concat();
    let best: Vec<f64> = rewards
        .iter()
        .filter_map(|row| row.iter().copied().reduce(f64::max))
        .collect();
    let figures = [
        ("mean", describe::mean(&all).ok()),
        ("sd", describe::standard_deviation(&all).ok()),
        ("min", all.iter().copied().reduce(f64::min)),
        ("max", all.iter().copied().reduce(f64::max)),
        ("best_mean", describe::mean(&best).ok()),
    ];
    let mut found = metrics(json!({ "responses": all.len() }));
    let defined = figures
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    found.extend(defined);
    found
}

/// Tokens that groups compute.
pub(crate) fn count_tokens(groups: &[Group]) -> usize {
    groups.iter().map(Group::tokens).sum()
}

pub(crate) fn timings(setup: f64, work: f64, tokens: usize) -> BTreeMap<String, f64> {
    [
        ("setup_s", setup),
        ("work_s", work),
        ("tokens_per_s", tokens as f64 / work.max(1e-9)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Scores the first responses of both sides with the judge's reward model:
/// `judged.jsonl`, from which the engine makes the verdicts.
///
/// # Errors
/// As [`score`]; prompts that only one side answers.
pub fn judge(context: &Context<'_>, spec: &Judge) -> Result<Outcome, WorkerError> {
    let started = Instant::now();
    let path = &context.input("model")?.path;
    let model = RewardModel::open(path, spec.precision, context.device, context.token_budget())?;
    let pairs = judged_pairs(context)?;
    let (text, tokenizer) = (&model.text, &model.tokenizer);
    let texts = Texts::new(tokenizer, text.template);
    let group = |(a, b): &(ResponseRow, ResponseRow)| {
        let sequence = |row: &ResponseRow| {
            let tokens = texts.reward_of_reply(&row.prompt, &row.responses[0].text)?;
            Ok::<_, WorkerError>(text.fit(tokenizer, tokens).tokens)
        };
        Ok::<_, WorkerError>(Group::share(&[sequence(a)?, sequence(b)?]))
    };
    let groups = parallel::map(&pairs, group).into_iter();
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    let setup = started.elapsed().as_secs_f64();
    let rewards = score_groups(context, &model, &groups, (journal::FILE, "scoring"))?;
    let judged: Vec<JudgedRow> = pairs
        .into_iter()
        .zip(rewards)
        .map(|((a, b), rewards)| JudgedRow {
            id: a.id,
            prompt: a.prompt,
            a: a.responses[0].text.clone(),
            b: b.responses[0].text.clone(),
            reward_a: rewards[0],
            reward_b: rewards[1],
        })
        .collect();
    write_rows(&context.output(artifact::JUDGED), &judged)?;
    let work = started.elapsed().as_secs_f64() - setup;
    Ok(Outcome {
        timings: timings(setup, work, count_tokens(&groups)),
        ..Outcome::default()
    })
}

/// Both sides' rows, matched by prompt.
fn judged_pairs(context: &Context<'_>) -> Result<Vec<(ResponseRow, ResponseRow)>, WorkerError> {
    let read = |role: &str| {
        let input = context.input(role)?;
        let rows = read_responses(&input.path, context.rows(input))?;
        Ok::<_, WorkerError>((input.name.clone(), rows))
    };
    let ((name_a, side_a), (name_b, side_b)) = (read("a")?, read("b")?);
    let ids = |rows: &[ResponseRow]| rows.iter().map(|row| row.id).collect::<BTreeSet<u64>>();
    let (ids_a, ids_b) = (ids(&side_a), ids(&side_b));
    if let Some(id) = ids_a.symmetric_difference(&ids_b).next() {
        return Err(WorkerError::input(
            format!("judge `{name_a}` against `{name_b}`: only one of them answers prompt {id}"),
            "generate both from the same prompt set, with the same `limit`",
        ));
    }
    let mut by_id: BTreeMap<u64, ResponseRow> =
        side_b.into_iter().map(|row| (row.id, row)).collect();
    Ok(side_a
        .into_iter()
        .filter_map(|a| {
            let b = by_id.remove(&a.id)?;
            Some((a, b))
        })
        .collect())
}
