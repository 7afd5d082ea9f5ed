//! Lists of scored responses, as in UltraFeedback.

use moreline_protocol::rows::Message;
use moreline_protocol::spec::Rating;
use serde_json::Value;

use super::{Convert, Found, RawRow};
use crate::rows::fields::{self, Reason};
use crate::rows::read::Position;

/// Reads rows of an instruction and its completions.
pub(super) struct Ultrafeedback {
    /// Which rating is the score.
    pub(super) rating: Rating,
}

impl Convert for Ultrafeedback {
    fn take(&mut self, value: Value, _: Position, found: &mut Found) -> Result<(), Reason> {
        let mut fields = fields::object(value)?;
        let (name, prompt) = match fields.remove("instruction") {
            Some(prompt) => ("instruction", prompt),
            None => ("prompt", fields.remove("prompt").unwrap_or(Value::Null)),
        };
        let prompt = Message::user(fields::text(&format!("`{name}`"), prompt)?);
        let completions = fields.remove("completions").unwrap_or(Value::Null);
        let (mut responses, mut scores) = (Vec::new(), Vec::new());
        for (at, completion) in fields::list("completions", completions)?
            .into_iter()
            .enumerate()
        {
            let name = format!("`completions[{at}]`");
            let text = first(&completion, &["response", "text"]).cloned();
            let text = fields::string(
                &format!("`response` of {name}"),
                text.unwrap_or(Value::Null),
            )?;
            let score = self.score(&completion, &name)?;
            match score {
                _ if text.trim().is_empty() => found.drop("empty_responses"),
                None => found.drop("unrated_responses"),
                Some(score) => {
                    responses.push(text);
                    scores.push(score);
                }
            }
        }
        if responses.len() < 2 {
            found.drop("fewer_than_two_responses");
            return Ok(());
        }
        found.rows.push(RawRow {
            prompt: vec![prompt],
            responses,
            scores,
            longer: false,
        });
        Ok(())
    }
}

impl Ultrafeedback {
    /// The rating of a completion; nothing if it was not rated.
    fn score(&self, completion: &Value, name: &str) -> Result<Option<f64>, Reason> {
        let names: &[&str] = match self.rating {
            Rating::Overall => &["overall_score", "score"],
            Rating::FineGrained => &["fine-grained_score"],
        };
        let Some(score) = first(completion, names) else {
            let other = match self.rating {
                Rating::Overall => "fine-grained",
                Rating::FineGrained => "overall",
            };
            return Err(Reason::new(format!("{name} has no `{}`", names[0]))
                .hint(format!("if it has the other rating: rating = \"{other}\"")));
        };
        let label = format!("`{}` of {name}", names[0]);
        match score {
            Value::Null => Ok(None),
            // Early versions of the set write numbers as text.
            Value::String(text) if text.trim() == "N/A" => Ok(None),
            Value::String(text) => match text.trim().parse::<f64>() {
                Ok(score) if score.is_finite() => Ok(Some(score)),
                _ => Err(Reason::new(format!(
                    "{label} must be a finite number, it is {}",
                    fields::describe(score)
                ))),
            },
            number => fields::number(&label, number).map(Some),
        }
    }
}

fn first<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| value.get(name))
}
