//! Telling the form of a set by one of its rows.

use moreline_protocol::spec::RawFormat;
use serde_json::{Map, Value};

use crate::rows::fields::{self, Reason};

const FORMS: &str = "hh-rlhf, more, trl, moreline, webgpt, oasst, summarize-from-feedback and \
    ultrafeedback; name the form with `format` if the first rows are of none";

/// The form a row is in.
pub(super) fn format(value: &Value) -> Result<RawFormat, Reason> {
    let Value::Object(fields) = value else {
        let what = fields::describe(value);
        return Err(Reason::new(format!(
            "a row must be an object, this is {what}"
        )));
    };
    let rule = RULES.iter().find(|(_, fits)| fits(fields));
    rule.map(|(format, _)| *format)
        .ok_or_else(|| fields::unknown_form(fields, FORMS))
}

/// True for the forms that are read field by field, so that one file may mix
/// them.
pub(super) fn is_plain(format: RawFormat) -> bool {
    matches!(
        format,
        RawFormat::HhRlhf | RawFormat::More | RawFormat::Trl | RawFormat::Moreline
    )
}

type Fields = Map<String, Value>;
/// A form, and whether a row of these fields is of it.
type Rule = (RawFormat, fn(&Fields) -> bool);

/// The forms and what tells them, those first that have what is nowhere else.
const RULES: [Rule; 8] = [
    (RawFormat::Webgpt, |f| {
        f.get("question").is_some_and(Value::is_object) && has(f, &["answer_0", "answer_1"])
    }),
    (RawFormat::SummarizeFromFeedback, |f| {
        f.get("summaries").is_some_and(Value::is_array) && has(f, &["info", "choice"])
    }),
    (RawFormat::Ultrafeedback, |f| {
        f.get("completions").is_some_and(Value::is_array)
            && (has(f, &["instruction"]) || has(f, &["prompt"]))
    }),
    (RawFormat::Oasst, |f| {
        has(f, &["message_tree_id"])
            && (f.get("prompt").is_some_and(Value::is_object) || has(f, &["message_id", "role"]))
    }),
    (RawFormat::Moreline, |f| has(f, &["responses"]) && scored(f)),
    (RawFormat::More, |f| {
        (has(f, &["text"]) || has(f, &["texts"])) && scored(f)
    }),
    (RawFormat::HhRlhf, |f| {
        has(f, &["chosen", "rejected"])
            && f.get("prompt").is_none_or(Value::is_null)
            && f["chosen"].is_string()
    }),
    (RawFormat::Trl, |f| has(f, &["chosen", "rejected"])),
];

fn has(fields: &Fields, names: &[&str]) -> bool {
    names.iter().all(|name| fields.contains_key(*name))
}

fn scored(fields: &Fields) -> bool {
    has(fields, &["score"]) || has(fields, &["scores"])
}
