//! WebGPT comparisons: two answers to a question, each with a score from -1 to 1.

use moreline_protocol::rows::Message;
use serde_json::Value;

use super::{Convert, Found, RawRow};
use crate::rows::fields::{self, Reason};
use crate::rows::read::Position;

/// Reads rows of WebGPT comparisons.
pub(super) struct Webgpt;

impl Convert for Webgpt {
    fn take(&mut self, value: Value, _: Position, found: &mut Found) -> Result<(), Reason> {
        let mut fields = fields::object(value)?;
        let mut take = |name: &str| fields.remove(name).unwrap_or(Value::Null);
        let mut question = fields::object(take("question"))
            .map_err(|_| Reason::new("`question` must be an object with `full_text`"))?;
        let question = question.remove("full_text").unwrap_or(Value::Null);
        let question = fields::text("`question.full_text`", question)?;
        let responses = vec![
            fields::text("`answer_0`", take("answer_0"))?,
            fields::text("`answer_1`", take("answer_1"))?,
        ];
        let scores = vec![
            fields::number("`score_0`", &take("score_0"))?,
            fields::number("`score_1`", &take("score_1"))?,
        ];
        found.rows.push(RawRow {
            prompt: vec![Message::user(question)],
            responses,
            scores,
            longer: false,
        });
        Ok(())
    }
}
