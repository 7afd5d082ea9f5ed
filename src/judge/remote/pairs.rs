//! The pairs to judge: the two sides' responses, matched by prompt.

use std::collections::BTreeMap;

use moreline_formats::rows::read_responses;
use moreline_protocol::job::Job;
use moreline_protocol::rows::{Message, ResponseRow};
use moreline_protocol::spec::Judge;

use crate::judge::JudgeError;
use crate::records::{RecordsError, input};

/// Ids named in an error.
const NAMED: usize = 10;

/// The first response of either side to one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) id: u64,
    pub(crate) prompt: Vec<Message>,
    pub(crate) a: String,
    pub(crate) b: String,
}

/// Reads both sides; they must answer the same prompts.
pub(crate) fn read(job: &Job, spec: &Judge) -> Result<Vec<Pair>, JudgeError> {
    let side = |role| -> Result<Vec<ResponseRow>, JudgeError> {
        let input = input(job, role)?;
        let rows = read_responses(&input.path, input.rows.capped(spec.limit));
        Ok(rows.map_err(RecordsError::from)?)
    };
    matched(side("a")?, side("b")?).map_err(|reason| JudgeError::Unmatched {
        a: spec.a.clone(),
        b: spec.b.clone(),
        reason,
    })
}

fn matched(a: Vec<ResponseRow>, b: Vec<ResponseRow>) -> Result<Vec<Pair>, String> {
    let mut b: BTreeMap<u64, ResponseRow> = b.into_iter().map(|row| (row.id, row)).collect();
    let missing_in_b: Vec<u64> = a
        .iter()
        .map(|r| r.id)
        .filter(|id| !b.contains_key(id))
        .collect();
    if !missing_in_b.is_empty() {
        return Err(format!("the second side lacks {}", prompts(&missing_in_b)));
    }
    let mut pairs = Vec::new();
    for row in a {
        let Some(other) = b.remove(&row.id) else {
            continue;
        };
        if row.prompt != other.prompt {
            return Err(format!("they answer different prompts under id {}", row.id));
        }
        let text = |row: &ResponseRow| row.responses.first().map(|r| r.text.clone());
        let texts = text(&row).zip(text(&other));
        let (a, b) = texts.ok_or_else(|| format!("no response to prompt {}", row.id))?;
        pairs.push(Pair {
            id: row.id,
            prompt: row.prompt,
            a,
            b,
        });
    }
    if !b.is_empty() {
        let missing: Vec<u64> = b.into_keys().collect();
        return Err(format!("the first side lacks {}", prompts(&missing)));
    }
    Ok(pairs)
}

fn prompts(ids: &[u64]) -> String {
    let named: Vec<_> = ids.iter().take(NAMED).map(u64::to_string).collect();
    let more = match ids.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let noun = if ids.len() == 1 { "prompt" } else { "prompts" };
    format!("{noun} {}{more}", named.join(", "))
}
