//! The forms of an example row: a prompt and the response to imitate.

use moreline_protocol::rows::ExampleRow;
use serde_json::Value;

use super::fields::{self, Reason};
use super::prompt;

/// One row.
pub(crate) fn parse(value: Value) -> Result<ExampleRow, Reason> {
    let score = match value.get("score") {
        None | Some(Value::Null) => None,
        Some(score) => Some(fields::number("`score`", score)?),
    };
    let row = prompt::parse(value)?;
    match row.answer {
        Some(response) => Ok(ExampleRow {
            prompt: row.prompt,
            response,
            score,
        }),
        None => Err(Reason::new("a prompt without an answer").hint(
            "put the answer into `answer`, `response` or `completion`, or end `messages` with it",
        )),
    }
}
