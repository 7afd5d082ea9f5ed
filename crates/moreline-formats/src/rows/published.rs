//! Responses in the forms that the published programs read.

use moreline_protocol::rows::ResponseRow;
use serde_json::{Value, json};

use super::fields::Reason;
use super::{separator, split};
use crate::dialogue::{self, DialogueForm};

/// A row of responses as the published programs write it: `{"texts", "scores"}`,
/// each text the query, `<sep>` and the answer, if every response has a score;
/// else `{"id", "prompt", "answer": [..]}`. The query is the dialogue
/// `\n\nHuman: ..\n\nAssistant:`, and an answer begins with a space.
///
/// # Errors
/// The published form would be read otherwise: a text holds `<sep>` or a
/// speaker's marker, or the prompt has a system message.
pub fn write_responses(row: &ResponseRow) -> Result<Value, Reason> {
    let form = DialogueForm::HumanAssistant;
    let query = dialogue::render_prompt(form, &row.prompt);
    let unreadable = |what: &str| {
        let text = format!("{what} cannot be written in the published form: read back, it differs");
        Reason::new(text).hint(
            "`<sep>`, `\\n\\nHuman:` and `\\n\\nAssistant:` inside a text, and system messages, \
             have no place in it",
        )
    };
    if split::query(&query).ok().as_ref() != Some(&row.prompt) {
        return Err(unreadable(&format!("prompt {}", row.id)));
    }
    let scores: Option<Vec<f64>> = row.responses.iter().map(|r| r.score).collect();
    let answers = row.responses.iter().map(|r| format!(" {}", r.text));
    let Some(scores) = scores else {
        return Ok(json!({"id": row.id, "prompt": query, "answer": answers.collect::<Vec<_>>()}));
    };
    let mut texts = Vec::new();
    for (sample, answer) in answers.enumerate() {
        let text = format!("{query}{}{answer}", separator::SEPARATOR);
        if separator::split(&text) != Ok(Some((&query, &answer))) {
            let what = format!("sample {sample} of prompt {}", row.id);
            return Err(unreadable(&what));
        }
        texts.push(text);
    }
    Ok(json!({"texts": texts, "scores": scores}))
}
