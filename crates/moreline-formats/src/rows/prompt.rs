//! The forms of a prompt row.

use serde_json::Value;

use super::PromptRow;
use super::fields::{self, Reason};

const FORMS: &str = "{\"prompt\": string or messages} with an optional \"answer\" (or \
    \"response\", \"completion\"); {\"query\": string}; {\"messages\": [..]}; a plain string";

const ANSWERS: [&str; 3] = ["answer", "response", "completion"];

/// One row. An answer may be empty, as it is here and there in published sets:
/// the model then ends at once.
pub(crate) fn parse(value: Value) -> Result<PromptRow, Reason> {
    if value.is_string() {
        let prompt = fields::prompt("prompt", value)?;
        return Ok(PromptRow {
            prompt,
            answer: None,
        });
    }
    let mut fields = fields::object(value)?;
    if let Some(messages) = fields.remove("messages") {
        return conversation(messages);
    }
    let Some((name, prompt)) = ["prompt", "query"]
        .into_iter()
        .find_map(|name| Some((name, fields.remove(name)?)))
    else {
        return Err(fields::unknown_form(&fields, FORMS));
    };
    let prompt = fields::prompt(name, prompt)?;
    let answer = ANSWERS
        .into_iter()
        .find_map(|name| Some((name, fields.remove(name).filter(|v| !v.is_null())?)));
    let answer = answer
        .map(|(name, value)| fields::string(&format!("`{name}`"), value))
        .transpose()?;
    Ok(PromptRow { prompt, answer })
}

/// A whole conversation; a final assistant message is the answer.
fn conversation(messages: Value) -> Result<PromptRow, Reason> {
    let mut prompt = fields::messages("messages", messages)?;
    let answer = match prompt.pop_if(|last| last.role == "assistant") {
        Some(last) if last.content.trim().is_empty() => {
            return Err(Reason::new("the last message of `messages` is empty"));
        }
        Some(last) => Some(last.content),
        None => None,
    };
    match prompt.last() {
        Some(last) if last.role == "user" => Ok(PromptRow { prompt, answer }),
        _ => Err(Reason::new(
            "`messages` must end with a user message, or with one and its answer",
        )),
    }
}
