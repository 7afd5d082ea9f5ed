//! Public preference sets in forms of their own, as prompts and responses.
//!
//! | Form | A row |
//! | --- | --- |
//! | `hh-rlhf` | `chosen`, `rejected`: whole dialogues |
//! | `more` | `text`, `score` (or `texts`, `scores`): dialogues, or `QUERY<sep>ANSWER` |
//! | `trl` | `prompt`, `chosen`, `rejected` as texts or messages, or without `prompt` |
//! | `moreline` | `prompt`, `responses`, `scores` |
//! | `webgpt` | `question.full_text`, `answer_0`, `answer_1`, `score_0`, `score_1` |
//! | `oasst` | message trees, nested or flat, siblings with a `rank` |
//! | `summarize-from-feedback` | `info.post`, `summaries`, `choice` |
//! | `ultrafeedback` | `instruction`, `completions` with a score each |
//!
//! Files are JSON arrays or JSON Lines, plain, in gzip or zstd, or Parquet. They
//! are read row by row; what is held besides is one row, or for flat OASST trees
//! one tree. Parquet goes through the row interface of the `parquet` crate:
//! it reads nested lists and structs without Arrow's arrays, which would be a
//! dozen more crates, and hands out one row at a time.

mod detect;
mod oasst;
mod pages;
mod pairs;
mod parquet;
mod summaries;
mod tree;
mod ultrafeedback;
mod webgpt;

use std::collections::BTreeMap;
use std::path::Path;

use moreline_protocol::job::RowRange;
use moreline_protocol::rows::Message;
use moreline_protocol::spec::{Rating, RawFormat};
use serde_json::Value;

use super::RowError;
use super::fields::Reason;
use super::read::{self, Position};

/// How a raw set is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawOptions {
    /// The form of its rows; told by the first row of a known form if absent.
    pub format: Option<RawFormat>,
    /// OASST: take only messages of this language, for example `en`.
    pub language: Option<String>,
    /// UltraFeedback: which of the ratings is the score.
    pub rating: Rating,
}

/// A prompt and the responses to it.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRow {
    /// The conversation up to the response.
    pub prompt: Vec<Message>,
    /// At least two responses, in the order of the set.
    pub responses: Vec<String>,
    /// One finite score per response; higher is better.
    pub scores: Vec<f64>,
    /// True if a response holds more turns than one, because the dialogues
    /// part before their last reply.
    pub longer: bool,
}

/// What [`read_raw`] found besides the rows.
#[derive(Debug)]
pub struct RawSummary {
    /// The form the rows were read in; absent if none was of a known form.
    pub format: Option<RawFormat>,
    /// How the file is written, for example `gzip JSON Lines`.
    pub container: String,
    /// Rows of the file looked at.
    pub rows: u64,
    /// The bad ones, if there are any: the first ten of them and their number.
    pub bad: Option<RowError>,
    /// What good rows held that cannot be used, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// What a row of a set gives.
#[derive(Default)]
struct Found {
    rows: Vec<RawRow>,
    dropped: BTreeMap<&'static str, u64>,
}

impl Found {
    fn drop(&mut self, reason: &'static str) {
        *self.dropped.entry(reason).or_default() += 1;
    }
}

/// Reads one form.
trait Convert {
    /// Takes one row of the file.
    fn take(&mut self, value: Value, at: Position, found: &mut Found) -> Result<(), Reason>;

    /// The file is over.
    fn finish(&mut self, _found: &mut Found) {}
}

/// Reads the rows of `range` of a raw set and gives each to `sink` until that
/// says false. Bad rows are counted and told in the summary.
///
/// # Errors
/// The file cannot be read or cut into rows, or holds none in `range`.
pub fn read_raw(
    path: &Path,
    range: RowRange,
    options: &RawOptions,
    sink: &mut dyn FnMut(RawRow) -> bool,
) -> Result<RawSummary, RowError> {
    const WHAT: &str = "raw preference set";
    let mut reader = RawReader {
        options,
        format: options.format,
        convert: options.format.map(|format| converter(format, options)),
        found: Found::default(),
        open: true,
    };
    let parse = &mut |value, at| reader.take(value, at, sink);
    let streamed = match parquet::is_parquet(path) {
        true => parquet::stream(WHAT, path, range, parse)?,
        false => read::stream(WHAT, path, range, parse)?,
    };
    reader.finish(sink);
    Ok(RawSummary {
        format: reader.format,
        container: streamed.container,
        rows: streamed.rows,
        bad: streamed.bad,
        dropped: reader.found.dropped,
    })
}

struct RawReader<'a> {
    options: &'a RawOptions,
    format: Option<RawFormat>,
    convert: Option<Box<dyn Convert>>,
    found: Found,
    /// False once the sink wants no more.
    open: bool,
}

impl RawReader<'_> {
    fn take(
        &mut self,
        value: Value,
        at: Position,
        sink: &mut dyn FnMut(RawRow) -> bool,
    ) -> Result<(), Reason> {
        if !self.open {
            return Ok(());
        }
        let convert = match &mut self.convert {
            Some(convert) => convert,
            None => {
                let format = detect::format(&value)?;
                self.format = Some(format);
                // Rows of one file may be in several of the plain forms.
                let plain = detect::is_plain(format);
                self.convert.insert(match plain {
                    true => Box::new(pairs::Pairs { only: None }),
                    false => converter(format, self.options),
                })
            }
        };
        let taken = convert.take(value, at, &mut self.found);
        self.hand_out(sink);
        taken
    }

    fn finish(&mut self, sink: &mut dyn FnMut(RawRow) -> bool) {
        if let Some(convert) = &mut self.convert {
            convert.finish(&mut self.found);
        }
        self.hand_out(sink);
    }

    fn hand_out(&mut self, sink: &mut dyn FnMut(RawRow) -> bool) {
        for row in self.found.rows.drain(..) {
            self.open = self.open && sink(row);
        }
    }
}

fn converter(format: RawFormat, options: &RawOptions) -> Box<dyn Convert> {
    match format {
        RawFormat::HhRlhf | RawFormat::More | RawFormat::Trl | RawFormat::Moreline => {
            Box::new(pairs::Pairs { only: Some(format) })
        }
        RawFormat::Webgpt => Box::new(webgpt::Webgpt),
        RawFormat::Oasst => Box::new(oasst::Oasst::new(options.language.clone())),
        RawFormat::SummarizeFromFeedback => Box::new(summaries::Summaries),
        RawFormat::Ultrafeedback => Box::new(ultrafeedback::Ultrafeedback {
            rating: options.rating,
        }),
    }
}

#[cfg(test)]
mod tests;
