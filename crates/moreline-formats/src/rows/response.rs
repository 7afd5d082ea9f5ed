//! Rows of sampled responses.

use std::collections::BTreeMap;

use moreline_protocol::rows::ResponseRow;
use serde::Deserialize;
use serde_json::Value;

use super::fields::Reason;

/// The ids met so far and the lines they were on.
pub(crate) type Seen = BTreeMap<u64, u64>;

/// One row, which begins on `line`.
pub(crate) fn parse(value: Value, line: u64, seen: &mut Seen) -> Result<ResponseRow, Reason> {
    let row = ResponseRow::deserialize(value).map_err(|error| {
        Reason::new(error.to_string()).hint(
            "a row of responses is {\"id\": 0, \"prompt\": [messages], \
             \"responses\": [{\"text\": \"..\"}]}",
        )
    })?;
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
    match seen.insert(row.id, line) {
        Some(earlier) => Err(Reason::new(format!(
            "the id {} was on line {earlier} already",
            row.id
        ))),
        None => Ok(row),
    }
}
