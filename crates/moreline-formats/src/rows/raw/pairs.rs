//! The plain forms: our own rows, HH-RLHF's dialogues, MORE's texts with scores,
//! and TRL's prompt, chosen and rejected.

use moreline_protocol::rows::Message;
use moreline_protocol::spec::RawFormat;
use serde_json::Value;

use super::{Convert, Found, RawRow, detect};
use crate::dialogue;
use crate::rows::fields::Reason;
use crate::rows::preference;
use crate::rows::read::Position;
use crate::rows::split::{self, Split};
use crate::rows::{PreferenceBody, PreferenceRow};

/// Reads rows of the plain forms.
pub(super) struct Pairs {
    /// The only form taken; any of them if absent.
    pub(super) only: Option<RawFormat>,
}

impl Convert for Pairs {
    fn take(&mut self, value: Value, at: Position, found: &mut Found) -> Result<(), Reason> {
        if let Some(wanted) = self.only {
            check_form(&value, wanted)?;
        }
        let row = preference::parse_any(value, at)?;
        found.rows.push(self.convert(row)?);
        Ok(())
    }
}

/// Refuses a row of another form than the one named. TRL's rows without a
/// prompt look like HH-RLHF's.
fn check_form(value: &Value, wanted: RawFormat) -> Result<(), Reason> {
    let form = detect::format(value)?;
    let alike = (form, wanted) == (RawFormat::HhRlhf, RawFormat::Trl);
    if form == wanted || alike {
        return Ok(());
    }
    Err(Reason::new(format!(
        "the row is of the form {}, not {}",
        form.name(),
        wanted.name()
    ))
    .hint("leave `format` out to take every form that is known"))
}

impl Pairs {
    fn convert(&self, row: PreferenceRow) -> Result<RawRow, Reason> {
        let split = match row.body {
            PreferenceBody::Replies { prompt, responses } => Split {
                prompt,
                responses,
                longer: false,
            },
            PreferenceBody::Texts(texts) if self.only == Some(RawFormat::Trl) => implicit(&texts)?,
            PreferenceBody::Texts(texts) => split::texts(&texts)?,
        };
        Ok(RawRow {
            prompt: split.prompt,
            responses: split.responses,
            scores: row.scores,
            longer: split.longer,
        })
    }
}

/// TRL's implicit prompt: what the texts begin with in common, here up to a
/// word's end.
fn implicit(texts: &[String]) -> Result<Split, Reason> {
    if texts.iter().all(|text| dialogue::parse(text).is_some()) {
        return split::dialogues(texts);
    }
    let first = texts[0].as_str();
    let mut shared = first.len();
    for other in &texts[1..] {
        let same = first.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
        shared = shared.min(same.count());
    }
    while !first.is_char_boundary(shared) {
        shared -= 1;
    }
    let ends_word = texts
        .iter()
        .all(|text| text[shared..].starts_with(char::is_whitespace) || text.len() == shared);
    if !ends_word {
        shared = first[..shared]
            .char_indices()
            .rfind(|(_, c)| c.is_whitespace())
            .map_or(0, |(at, _)| at);
    }
    let (prompt, responses) = (
        &first[..shared],
        texts.iter().map(|text| text[shared..].to_owned()),
    );
    let responses: Vec<String> = responses.collect();
    if prompt.trim().is_empty() || responses.iter().any(|r| r.trim().is_empty()) {
        return Err(Reason::new(
            "`chosen` and `rejected` have no common beginning that could be their prompt",
        )
        .hint("add a `prompt`"));
    }
    Ok(Split {
        prompt: vec![Message::user(prompt)],
        responses,
        longer: false,
    })
}
