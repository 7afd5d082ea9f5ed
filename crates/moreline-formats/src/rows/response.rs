//! Rows of sampled responses: ours, and those of the published programs.

use std::collections::BTreeMap;

use moreline_protocol::rows::{Finish, Message, Response, ResponseRow};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::fields::{self, Reason};
use super::read::Position;
use super::split;
use crate::dialogue::DialogueForm;

/// What was met so far.
#[derive(Default)]
pub(crate) struct Seen {
    /// Ids and the rows they were in.
    ids: BTreeMap<u64, Position>,
    /// Refuse published dialogues.
    pub(crate) no_dialogues: bool,
}

const FORMS: &str = "{\"id\": 0, \"prompt\": [messages], \"responses\": [{\"text\": \"..\"}]}; \
    {\"text\": \"QUERY<sep>ANSWER\", \"score\": 0.5}; {\"texts\": [..], \"scores\": [..]}; \
    {\"query\", \"sample_0\", \"sample_1\", ..}; {\"prompt\", \"answer\": string or list}";

/// One row.
pub(crate) fn parse(value: Value, at: Position, seen: &mut Seen) -> Result<ResponseRow, Reason> {
    let row = if value.get("responses").is_some() {
        ours(value)?
    } else {
        let row = published(fields::object(value)?, at)?;
        if seen.no_dialogues && row.dialogue {
            return Err(Reason::new(
                "the query is a dialogue, and a reward model with `template = \"raw\"` is fed \
                 no speakers",
            )
            .hint(
                "train the reward model with `template = \"human-assistant\"`: it feeds published \
                 dialogues as they are",
            ));
        }
        row.row
    };
    if row.responses.is_empty() {
        return Err(Reason::new(format!("prompt {} has no responses", row.id)));
    }
    if row
        .responses
        .iter()
        .any(|r| r.score.is_some_and(|s| !s.is_finite()))
    {
        return Err(Reason::new(format!(
            "prompt {} has a score that is not finite",
            row.id
        )));
    }
    match seen.ids.insert(row.id, at) {
        Some(earlier) => Err(Reason::new(format!(
            "the id {} was {} already",
            row.id,
            earlier.place()
        ))),
        None => Ok(row),
    }
}

fn ours(value: Value) -> Result<ResponseRow, Reason> {
    ResponseRow::deserialize(value).map_err(|error| {
        Reason::new(error.to_string()).hint(
            "a row of responses is {\"id\": 0, \"prompt\": [messages], \
             \"responses\": [{\"text\": \"..\"}]}",
        )
    })
}

/// A row, and whether its query was a dialogue.
struct Published {
    row: ResponseRow,
    dialogue: bool,
}

/// A row of the published programs. Its number in the file is its id if it has
/// none.
fn published(mut fields: Map<String, Value>, at: Position) -> Result<Published, Reason> {
    let id = match fields.remove("id") {
        None | Some(Value::Null) => at.record - 1,
        Some(id) => id.as_u64().ok_or_else(|| {
            let what = fields::describe(&id);
            Reason::new(format!("`id` must be a number from 0 on, it is {what}"))
        })?,
    };
    if let Some((name, texts)) = take_first(&mut fields, &["texts", "text"]) {
        return scored_texts(id, name, texts, &mut fields);
    }
    let Some((name, query)) = take_first(&mut fields, &["query", "prompt"]) else {
        return Err(fields::unknown_form(&fields, FORMS));
    };
    let (prompt, query) = match query {
        Value::String(text) => (split::query(&text)?, text),
        messages => (fields::prompt(name, messages)?, String::new()),
    };
    let answers = answers(&mut fields)?;
    let scores = match take_first(&mut fields, &["scores", "score"]) {
        Some((name, scores)) => Some(list_of(scores, |list| fields::scores(name, list))?),
        None => None,
    };
    let answers = answers.iter().map(|text| split::answer_to(&query, text));
    Ok(Published {
        row: row(id, prompt, answers.collect(), scores)?,
        dialogue: DialogueForm::of(&query).is_some(),
    })
}

/// Texts that hold query and answer, with scores if they have been scored.
fn scored_texts(
    id: u64,
    name: &'static str,
    texts: Value,
    fields: &mut Map<String, Value>,
) -> Result<Published, Reason> {
    let texts = list_of(texts, |list| fields::texts(name, list))?;
    if texts.is_empty() {
        return Err(Reason::new(format!("`{name}` is empty")));
    }
    let scores = match take_first(fields, &["scores", "score"]) {
        Some((name, scores)) => Some(list_of(scores, |list| fields::scores(name, list))?),
        None => None,
    };
    let split = split::texts(&texts)?;
    Ok(Published {
        row: row(id, split.prompt, split.responses, scores)?,
        dialogue: texts.iter().any(|text| DialogueForm::of(text).is_some()),
    })
}

fn row(
    id: u64,
    prompt: Vec<Message>,
    texts: Vec<String>,
    scores: Option<Vec<f64>>,
) -> Result<ResponseRow, Reason> {
    if let Some(scores) = &scores
        && scores.len() != texts.len()
    {
        return Err(Reason::new(format!(
            "{} responses and {} scores",
            texts.len(),
            scores.len()
        ))
        .hint("give each response exactly one score"));
    }
    let mut scores = scores.into_iter().flatten();
    let responses = texts.into_iter().map(|text| Response {
        text,
        tokens: 0,
        finish: Finish::Stop,
        logprob: None,
        score: scores.next(),
    });
    Ok(ResponseRow {
        id,
        prompt,
        responses: responses.collect(),
        reference: None,
    })
}

/// `sample_0`, `sample_1`, .., or `answer` as a text or a list. An answer may be
/// empty: the model ended at once.
fn answers(fields: &mut Map<String, Value>) -> Result<Vec<String>, Reason> {
    let mut found = Vec::new();
    while let Some(sample) = fields.remove(&format!("sample_{}", found.len())) {
        found.push(fields::string(
            &format!("`sample_{}`", found.len()),
            sample,
        )?);
    }
    if let Some(stray) = fields.keys().find(|key| is_sample(key)) {
        return Err(
            Reason::new(format!("`{stray}` without `sample_{}`", found.len()))
                .hint("samples are numbered from 0 without gaps"),
        );
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let Some((name, answers)) = take_first(fields, &["answer", "answers"]) else {
        return Err(Reason::new("a query with neither `sample_0` nor `answer`")
            .hint(format!("known forms: {FORMS}")));
    };
    list_of(answers, |list| {
        let items = fields::list(name, list)?.into_iter().enumerate();
        items
            .map(|(at, item)| fields::string(&format!("item {} of `{name}`", at + 1), item))
            .collect()
    })
}

fn is_sample(key: &str) -> bool {
    key.strip_prefix("sample_")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A list, or one value as a list of one.
fn list_of<T>(value: Value, read: impl FnOnce(Value) -> Result<T, Reason>) -> Result<T, Reason> {
    read(match value {
        list @ Value::Array(_) => list,
        one => Value::Array(vec![one]),
    })
}

fn take_first(
    fields: &mut Map<String, Value>,
    names: &[&'static str],
) -> Option<(&'static str, Value)> {
    let name = *names.iter().find(|name| fields.contains_key(**name))?;
    Some((name, fields.remove(name)?))
}
