//! The forms of a preference row.

use moreline_protocol::rows::Message;
use serde_json::{Map, Value};

use super::fields::{self, Reason};
use super::read::Position;
use super::{PreferenceBody, PreferenceRow, separator};

pub(crate) const FORMS: &str = "{\"text\": [..], \"score\": [..]}; \
    {\"prompt\", \"responses\": [..], \"scores\": [..]}; \
    {\"prompt\", \"chosen\", \"rejected\"}; \
    {\"chosen\", \"rejected\"} as full texts or message lists";

/// One row of a set to train or evaluate on. Texts in which the published
/// separator stands between query and answer are refused: fed as they are, the
/// model would see it.
pub(crate) fn parse(value: Value, at: Position) -> Result<PreferenceRow, Reason> {
    let row = parse_any(value, at)?;
    if let PreferenceBody::Texts(texts) = &row.body
        && texts.iter().any(|text| separator::is_separated(text))
    {
        let what = format!("`{}` separates query and answer", separator::SEPARATOR);
        return Err(Reason::new(what)
            .hint("turn the file into rows with an `import` stage, or `moreline import`"));
    }
    Ok(row)
}

/// One row, whatever its texts hold.
pub(crate) fn parse_any(value: Value, at: Position) -> Result<PreferenceRow, Reason> {
    let mut fields = fields::object(value)?;
    let (body, scores) = if let Some(texts) = first_of(&fields, &["text", "texts"]) {
        with_scores(&mut fields, texts, |texts, _| {
            Ok(PreferenceBody::Texts(texts))
        })?
    } else if fields.contains_key("responses") {
        with_scores(&mut fields, "responses", replies)?
    } else if fields.contains_key("chosen") && fields.contains_key("rejected") {
        (chosen_and_rejected(&mut fields)?, vec![1.0, 0.0])
    } else {
        return Err(fields::unknown_form(&fields, FORMS));
    };
    let line = at.line.unwrap_or(at.record);
    Ok(PreferenceRow { line, body, scores })
}

fn first_of(fields: &Map<String, Value>, names: &[&'static str]) -> Option<&'static str> {
    names
        .iter()
        .copied()
        .find(|name| fields.contains_key(*name))
}

fn take(fields: &mut Map<String, Value>, name: &str) -> Value {
    fields.remove(name).unwrap_or(Value::Null)
}

/// A list of texts and a list of scores of the same length.
fn with_scores(
    fields: &mut Map<String, Value>,
    name: &'static str,
    body: impl FnOnce(Vec<String>, &mut Map<String, Value>) -> Result<PreferenceBody, Reason>,
) -> Result<(PreferenceBody, Vec<f64>), Reason> {
    let Some(score_name) = first_of(fields, &["score", "scores"]) else {
        return Err(fields::unknown_form(fields, FORMS));
    };
    let texts = fields::texts(name, take(fields, name))?;
    let scores = fields::scores(score_name, take(fields, score_name))?;
    if texts.len() != scores.len() {
        return Err(Reason::new(format!(
            "`{name}` and `{score_name}` differ in length: {} and {}",
            texts.len(),
            scores.len()
        ))
        .hint("give each response exactly one score"));
    }
    if texts.len() < 2 {
        return Err(Reason::new(format!(
            "`{name}` holds {}; a preference needs at least two responses",
            texts.len()
        )));
    }
    Ok((body(texts, fields)?, scores))
}

fn replies(
    responses: Vec<String>,
    fields: &mut Map<String, Value>,
) -> Result<PreferenceBody, Reason> {
    if !fields.contains_key("prompt") {
        return Err(Reason::new("`responses` without a `prompt`")
            .hint("full texts that contain their prompt go into `text`"));
    }
    let prompt = fields::prompt("prompt", take(fields, "prompt"))?;
    Ok(PreferenceBody::Replies { prompt, responses })
}

fn chosen_and_rejected(fields: &mut Map<String, Value>) -> Result<PreferenceBody, Reason> {
    let (chosen, rejected) = (take(fields, "chosen"), take(fields, "rejected"));
    let prompt = match fields.remove("prompt") {
        None | Some(Value::Null) => None,
        Some(prompt) => Some(fields::prompt("prompt", prompt)?),
    };
    match (&chosen, &rejected) {
        (Value::Array(_), Value::Array(_)) => {
            let chosen = fields::messages("chosen", chosen)?;
            let rejected = fields::messages("rejected", rejected)?;
            message_lists(prompt, chosen, rejected)
        }
        _ => {
            let pair = vec![
                fields::text("`chosen`", chosen)?,
                fields::text("`rejected`", rejected)?,
            ];
            Ok(match prompt {
                None => PreferenceBody::Texts(pair),
                Some(prompt) => PreferenceBody::Replies {
                    prompt,
                    responses: pair,
                },
            })
        }
    }
}

/// Two conversations that differ in their last message only, or, after a
/// prompt of its own, two single replies.
fn message_lists(
    prompt: Option<Vec<Message>>,
    chosen: Vec<Message>,
    rejected: Vec<Message>,
) -> Result<PreferenceBody, Reason> {
    let (chosen_prompt, chosen) = split("chosen", chosen)?;
    let (rejected_prompt, rejected) = split("rejected", rejected)?;
    if chosen_prompt != rejected_prompt {
        let same = chosen_prompt.iter().zip(&rejected_prompt);
        let same = same.take_while(|(a, b)| a == b).count();
        return Err(Reason::new(format!(
            "`chosen` and `rejected` part at message {}, before their last",
            same + 1
        ))
        .hint("the two conversations may differ in their last message only"));
    }
    let prompt = match prompt {
        Some(prompt) if chosen_prompt.is_empty() => prompt,
        _ if !chosen_prompt.is_empty() => chosen_prompt,
        _ => return Err(Reason::new("`chosen` and `rejected` hold no prompt")),
    };
    Ok(PreferenceBody::Replies {
        prompt,
        responses: vec![chosen, rejected],
    })
}

fn split(name: &str, mut messages: Vec<Message>) -> Result<(Vec<Message>, String), Reason> {
    match messages.pop() {
        Some(last) if last.role == "assistant" && last.content.trim().is_empty() => Err(
            Reason::new(format!("the last message of `{name}` is empty")),
        ),
        Some(last) if last.role == "assistant" => Ok((messages, last.content)),
        _ => Err(Reason::new(format!(
            "`{name}` must end with an assistant message"
        ))),
    }
}
