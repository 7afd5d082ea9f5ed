//! Preference sets, tokenised and ready for training.

use std::collections::BTreeMap;

use moreline_formats::rows::{PreferenceRow, check_preferences, read_preferences};
use moreline_protocol::event::Level;
use moreline_protocol::job::Input;
use moreline_protocol::rows::FedRow;
use moreline_protocol::spec::Pairs;
use moreline_text::Tokenizer;

use super::step::{RewardRow, pairs_of};
use crate::batch::Group;
use crate::error::WorkerError;
use crate::stage::context::Context;
use crate::text::{Ends, RewardText, Texts, truncate};

/// Rows of each set shown in `fed.jsonl`.
pub(crate) const FED_ROWS: u64 = 2;

/// All sets of a training.
#[derive(Debug, Default)]
pub(crate) struct RewardSets {
    /// Their names.
    pub names: Vec<String>,
    /// Their usable rows.
    pub rows: Vec<Vec<RewardRow>>,
    /// Rows left out, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Responses that were cut.
    pub truncated: u64,
    /// The first texts of each set, as fed.
    pub fed: Vec<FedRow>,
}

/// Reads every `data` input.
///
/// # Errors
/// Unreadable rows, a set in which nothing can be learnt.
pub(crate) fn read_sets(
    context: &Context<'_>,
    tokenizer: &Tokenizer,
    text: &RewardText,
    pairs: Pairs,
) -> Result<RewardSets, WorkerError> {
    let mut sets = RewardSets::default();
    for reason in ["tied", "identical", "too_long"] {
        sets.dropped.insert(reason, 0);
    }
    for (task, input) in context.job.inputs_of("data").enumerate() {
        let rows = read_preferences(&input.path, context.rows(input))?;
        check_preferences(&input.path, &rows)?;
        let mut usable = Vec::with_capacity(rows.len());
        let before = sets.dropped.clone();
        for (index, row) in rows.iter().enumerate() {
            let place = Place { task, input, index };
            match prepare(tokenizer, text, row, pairs, &place, &mut sets)? {
                Ok(row) => usable.push(row),
                Err(reason) => *sets.dropped.entry(reason).or_default() += 1,
            }
            context
                .events
                .progress("tokenising", index + 1, rows.len(), "rows");
        }
        if usable.is_empty() {
            return Err(WorkerError::input(
                format!(
                    "train on `{}`: none of its {} rows can be used: {}",
                    input.name,
                    rows.len(),
                    reasons(&sets.dropped, &before)
                ),
                "raise `max_length`, or give rows whose responses differ in text and score",
            ));
        }
        sets.names.push(input.name.clone());
        sets.rows.push(usable);
    }
    let left_out: u64 = sets.dropped.values().sum();
    if left_out > 0 {
        let counts = reasons(&sets.dropped, &BTreeMap::new());
        context
            .events
            .log(Level::Info, format!("{left_out} rows left out: {counts}"));
    }
    Ok(sets)
}

/// How many rows were left out since `before`, and why.
fn reasons(dropped: &BTreeMap<&str, u64>, before: &BTreeMap<&str, u64>) -> String {
    let counts = dropped.iter().filter_map(|(why, n)| {
        let new = n - before.get(why).unwrap_or(&0);
        (new > 0).then(|| format!("{new} {}", why.replace('_', " ")))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// Which row is being prepared.
struct Place<'a> {
    task: usize,
    input: &'a Input,
    index: usize,
}

/// A row as training takes it, or why it is left out.
fn prepare(
    tokenizer: &Tokenizer,
    text: &RewardText,
    row: &PreferenceRow,
    pairs: Pairs,
    place: &Place<'_>,
    sets: &mut RewardSets,
) -> Result<Result<RewardRow, &'static str>, WorkerError> {
    if pairs_of(&row.scores) == 0 {
        return Ok(Err("tied"));
    }
    let (sequences, scores) = Texts::new(tokenizer, text.template).preference(row, pairs)?;
    let mut kept = Vec::with_capacity(sequences.len());
    for (response, tokens) in sequences.into_iter().enumerate() {
        let fitted = truncate(
            tokens,
            text.max_length as usize,
            text.truncation,
            Ends::of(tokenizer),
        );
        let Some(sequence) = fitted else {
            return Ok(Err("too_long"));
        };
        sets.truncated += u64::from(sequence.truncated > 0);
        if (place.index as u64) < FED_ROWS {
            sets.fed.push(FedRow {
                set: place.input.name.clone(),
                row: place.index as u64,
                response: Some(response as u64),
                text: tokenizer.decode(&sequence.tokens, false)?,
                tokens: sequence.tokens.len() as u64,
                truncated: sequence.truncated as u64,
            });
        }
        kept.push(sequence.tokens);
    }
    if kept.iter().all(|tokens| *tokens == kept[0]) {
        return Ok(Err("identical"));
    }
    Ok(Ok(RewardRow {
        task: place.task,
        group: Group::share(&kept),
        scores,
    }))
}
