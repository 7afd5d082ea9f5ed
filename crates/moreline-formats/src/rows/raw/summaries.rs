//! Summarize-from-feedback comparisons: two summaries of a post, and which was
//! chosen.

use moreline_protocol::rows::Message;
use serde_json::{Map, Value};

use super::{Convert, Found, RawRow};
use crate::rows::fields::{self, Reason};
use crate::rows::read::Position;

/// Reads rows of the comparisons.
pub(super) struct Summaries;

impl Convert for Summaries {
    fn take(&mut self, value: Value, _: Position, found: &mut Found) -> Result<(), Reason> {
        let mut fields = fields::object(value)?;
        let mut take = |name: &str| fields.remove(name).unwrap_or(Value::Null);
        let info = fields::object(take("info"))
            .map_err(|_| Reason::new("`info` must be an object with `post`"))?;
        let prompt = prompt(info)?;
        let mut responses = Vec::new();
        for (at, summary) in fields::list("summaries", take("summaries"))?
            .into_iter()
            .enumerate()
        {
            let text = summary.get("text").cloned().unwrap_or(Value::Null);
            let text = fields::text(&format!("`summaries[{at}].text`"), text)?;
            // The space that joins it to what it was sampled after.
            responses.push(text.trim_start().to_owned());
        }
        if responses.len() < 2 {
            return Err(Reason::new(format!(
                "`summaries` holds {}; a preference needs at least two",
                responses.len()
            )));
        }
        let choice = take("choice");
        let chosen = choice
            .as_u64()
            .and_then(|choice| usize::try_from(choice).ok())
            .filter(|choice| *choice < responses.len())
            .ok_or_else(|| {
                let what = fields::describe(&choice);
                Reason::new(format!("`choice` must name a summary, it is {what}"))
            })?;
        let scores = (0..responses.len()).map(|at| f64::from(u8::from(at == chosen)));
        found.rows.push(RawRow {
            prompt: vec![Message::user(prompt)],
            scores: scores.collect(),
            responses,
            longer: false,
        });
        Ok(())
    }
}

/// The post under the headings it was shown to models with; a news article under
/// one of its own.
fn prompt(mut info: Map<String, Value>) -> Result<String, Reason> {
    let mut take = |name: &str| match info.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(text) => fields::string(&format!("`info.{name}`"), text).map(Some),
    };
    if let Some(post) = take("post")?.filter(|post| !post.trim().is_empty()) {
        let mut prompt = String::new();
        if let Some(subreddit) = take("subreddit")?.filter(|name| !name.is_empty()) {
            prompt.push_str(&format!("SUBREDDIT: r/{subreddit}\n\n"));
        }
        if let Some(title) = take("title")?.filter(|title| !title.is_empty()) {
            prompt.push_str(&format!("TITLE: {title}\n\n"));
        }
        return Ok(format!("{prompt}POST: {post}\n\nTL;DR:"));
    }
    match take("article")?.filter(|article| !article.trim().is_empty()) {
        Some(article) => Ok(format!("ARTICLE: {article}\n\nTL;DR:")),
        None => Err(Reason::new(
            "`info` has neither a `post` nor an `article` with text",
        )),
    }
}
