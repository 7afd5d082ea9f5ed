//! Readers of row files: preference sets, prompt sets, examples and responses.
//!
//! A file is a JSON array or JSON Lines, either of them in gzip or zstd (told by
//! its content, not its name). Files are streamed: one row's text is held at a
//! time besides the rows returned. A [`RowRange`] counts rows; the rows
//! outside it are passed over and neither parsed nor checked.
//!
//! Rows are checked as they are read, and the first ten bad ones are reported
//! together, each with its line: see [`RowError`].
//!
//! [`raw`] reads public sets in forms of their own, and Parquet; [`published`]
//! writes responses as the published programs read them.

mod elements;
mod error;
mod example;
mod fields;
mod preference;
mod prompt;
pub mod published;
pub mod raw;
mod read;
mod response;
mod separator;
mod source;
mod split;

use std::path::Path;

use moreline_protocol::job::RowRange;
use moreline_protocol::rows::{ExampleRow, Message, ResponseRow};

pub use error::{RowError, RowProblem};
pub use fields::Reason;

/// A row of a preference set: at least two responses and a score each.
#[derive(Debug, Clone, PartialEq)]
pub struct PreferenceRow {
    /// Line of the file on which the row begins, from 1.
    pub line: u64,
    /// The responses.
    pub body: PreferenceBody,
    /// One finite score per response; higher is better.
    pub scores: Vec<f64>,
}

/// The responses of a preference row.
#[derive(Debug, Clone, PartialEq)]
pub enum PreferenceBody {
    /// Full texts, the prompt included, as published.
    Texts(Vec<String>),
    /// A prompt and the responses to it.
    Replies {
        /// The conversation up to the response; a prompt given as a plain
        /// string is one user message.
        prompt: Vec<Message>,
        /// The responses, without the prompt.
        responses: Vec<String>,
    },
}

/// A prompt with an optional reference answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptRow {
    /// The conversation up to the answer; a prompt given as a plain string is
    /// one user message.
    pub prompt: Vec<Message>,
    /// The reference answer.
    pub answer: Option<String>,
}

impl PreferenceRow {
    /// True if two of its responses have different scores.
    pub fn is_decided(&self) -> bool {
        self.scores.iter().any(|score| *score != self.scores[0])
    }
}

/// Reads a preference set. Forms of a row: `{"text": [..], "score": [..]}`
/// (also `texts`, `scores`), `{"prompt", "responses": [..], "scores": [..]}`,
/// `{"prompt", "chosen", "rejected"}`, and `{"chosen", "rejected"}` as full
/// texts or message lists.
///
/// # Errors
/// The file cannot be read, holds no row in `range`, or has bad rows in it.
pub fn read_preferences(path: &Path, range: RowRange) -> Result<Vec<PreferenceRow>, RowError> {
    read::read("preference set", path, range, preference::parse)
}

/// Refuses a preference set from which nothing can be learnt: one in which no
/// row has two different scores.
///
/// # Errors
/// No decided pair in `rows`.
pub fn check_preferences(path: &Path, rows: &[PreferenceRow]) -> Result<(), RowError> {
    if rows.iter().any(PreferenceRow::is_decided) {
        return Ok(());
    }
    Err(undecided(path, rows.len()))
}

fn undecided(path: &Path, rows: usize) -> RowError {
    RowError::whole(
        "preference set",
        path,
        format!("no decided pair: the scores are tied within each of its {rows} rows"),
        "give at least one row two responses of different scores, or take other rows \
         (`offset`, `limit`)",
    )
}

/// Finds what [`read_preferences`] and [`check_preferences`] find, without
/// keeping the rows: a file of any size takes the memory of its longest row.
///
/// # Errors
/// As those.
pub fn check_preference_file(path: &Path, range: RowRange) -> Result<(), RowError> {
    let mut decided = false;
    let rows = read::read("preference set", path, range, |value, at| {
        decided |= preference::parse(value, at)?.is_decided();
        Ok(())
    })?;
    if decided {
        return Ok(());
    }
    Err(undecided(path, rows.len()))
}

/// Finds what [`read_prompts`] finds, without keeping the rows.
///
/// # Errors
/// As [`read_prompts`].
pub fn check_prompt_file(path: &Path, range: RowRange) -> Result<(), RowError> {
    read::read("prompt set", path, range, |value, _| {
        prompt::parse(value).map(drop)
    })
    .map(drop)
}

/// Finds what [`read_examples`] finds, without keeping the rows.
///
/// # Errors
/// As [`read_examples`].
pub fn check_example_file(path: &Path, range: RowRange) -> Result<(), RowError> {
    read::read("examples", path, range, |value, _| {
        example::parse(value).map(drop)
    })
    .map(drop)
}

/// Reads a prompt set. Forms of a row: `{"prompt": string or messages}` with
/// an optional `answer` (or `response`, `completion`), `{"query": string}`,
/// `{"messages": [..]}` (a final assistant message is the answer), or a plain
/// JSON string.
///
/// # Errors
/// As [`read_preferences`].
pub fn read_prompts(path: &Path, range: RowRange) -> Result<Vec<PromptRow>, RowError> {
    read::read("prompt set", path, range, |value, _| prompt::parse(value))
}

/// Reads examples: prompts in the forms of [`read_prompts`], each with its
/// answer, and an optional `score`.
///
/// # Errors
/// As [`read_preferences`]; also a row without an answer.
pub fn read_examples(path: &Path, range: RowRange) -> Result<Vec<ExampleRow>, RowError> {
    read::read("examples", path, range, |value, _| example::parse(value))
}

/// Finds what [`read_responses`] finds, without keeping the rows. With
/// `no_dialogues` also published queries that are dialogues: they become
/// messages, which a model that is fed one text as it stands cannot take.
///
/// # Errors
/// As [`read_responses`].
pub fn check_response_file(
    path: &Path,
    range: RowRange,
    no_dialogues: bool,
) -> Result<(), RowError> {
    let mut seen = response::Seen::default();
    seen.no_dialogues = no_dialogues;
    read::read("responses", path, range, |value, at| {
        response::parse(value, at, &mut seen).map(drop)
    })
    .map(drop)
}

/// Reads responses as `generate` and `score` write them, or in a published form:
/// `{"text", "score"}` and `{"texts": [..], "scores": [..]}` with `<sep>` between
/// query and answer (or a dialogue whose last turn is the answer), `{"query",
/// "sample_0", "sample_1", ..}`, and `{"prompt", "answer": string or list}`.
/// Rows without an `id` are numbered from 0 in the file's order.
///
/// # Errors
/// As [`read_preferences`]; also a row without responses, two rows of the
/// same id, or a text in which it is not clear where the answer begins.
pub fn read_responses(path: &Path, range: RowRange) -> Result<Vec<ResponseRow>, RowError> {
    let mut seen = response::Seen::default();
    read::read("responses", path, range, |value, at| {
        response::parse(value, at, &mut seen)
    })
}

/// Cuts a file into rows and calls `visit` with the text of each, without the
/// white space around it, until it says false. Nothing is checked but the cut.
/// Returns the number of rows visited.
///
/// # Errors
/// The file cannot be read, or cut into rows.
pub fn visit_rows(path: &Path, visit: impl FnMut(&[u8]) -> bool) -> Result<u64, RowError> {
    read::visit("rows", path, visit)
}

#[cfg(test)]
mod tests;
