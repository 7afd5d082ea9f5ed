//! `import`: public preference sets as prompts and responses.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use moreline_formats::rows::RowError;
use moreline_formats::rows::raw::{RawOptions, RawRow, RawSummary, read_raw};
use moreline_protocol::artifact::PAIRS;
use moreline_protocol::event::{Event, Level, Metrics};
use moreline_protocol::job::{Job, RowRange};
use moreline_protocol::rows::Message;
use moreline_protocol::spec::{Import, RawFormat};
use serde::Serialize;
use serde_json::json;

use super::output::RowWriter;
use super::{RecordsError, input, metrics};
use crate::digest::Digest;

/// One imported row: in the form `chosen`, `rejected` if it is a plain pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum ImportedRow {
    Pair {
        prompt: Vec<Message>,
        chosen: String,
        rejected: String,
    },
    Ranked {
        prompt: Vec<Message>,
        responses: Vec<String>,
        scores: Vec<f64>,
    },
}

/// What an import read and wrote.
#[derive(Debug, Default, Serialize)]
pub struct Imported {
    /// The form the rows were read in.
    pub format: Option<RawFormat>,
    /// How the file is written, for example `gzip JSON Lines`.
    pub container: String,
    /// Rows of the file looked at; for flat OASST trees, messages.
    pub rows: u64,
    /// Rows written.
    pub imported: u64,
    /// Rows left out because they repeat an earlier one.
    pub duplicates: u64,
    /// Rows left out because all their responses are the same.
    pub identical: u64,
    /// Bad rows left out.
    pub bad: u64,
    /// Rows written in which no response is better than another.
    pub tied: u64,
    /// Rows written in which a response holds more turns than one.
    pub part_before_last_reply: u64,
    /// What good rows held that could not be used, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The first ten bad rows.
    #[serde(skip)]
    pub problems: Option<RowError>,
}

pub(super) fn run(
    job: &Job,
    spec: &Import,
    progress: &dyn Fn(Event),
) -> Result<Metrics, RecordsError> {
    let input = input(job, "data")?;
    let range = input.rows.capped(spec.limit);
    let imported = import_file(&input.path, range, spec, &job.output_dir.join(PAIRS))?;
    let log = |level, message| progress(Event::Log { level, message });
    log(Level::Info, imported.read_as());
    if let Some(bad) = &imported.problems {
        log(Level::Warn, format!("left out: {bad}"));
    }
    Ok(metrics(json!(imported)))
}

impl Imported {
    /// What the file was read as, in a sentence.
    pub fn read_as(&self) -> String {
        let form = self.format.map_or("of no known form", RawFormat::name);
        format!("read as {form} ({})", self.container)
    }
}

/// Imports a raw set into a new file `to`, synced to disk. Rows are written as
/// they are read; of earlier ones only digests are kept, for `deduplicate`.
///
/// # Errors
/// The set cannot be read, more of its rows are bad than `spec` tolerates,
/// nothing is left, or `to` exists or cannot be written. What has been written
/// by then is left in `to`.
pub fn import_file(
    path: &Path,
    range: RowRange,
    spec: &Import,
    to: &Path,
) -> Result<Imported, RecordsError> {
    let mut writer = RowWriter::create(to)?;
    let mut imported = Imported::default();
    let mut seen = HashSet::new();
    let mut failed = None;
    let summary = read(path, range, spec, &mut |row| {
        imported
            .take(row, spec, &mut seen, &mut writer)
            .map_err(|error| failed = Some(error))
            .is_ok()
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    imported.rows = summary.rows;
    imported.format = summary.format;
    imported.container = summary.container;
    imported.dropped = summary.dropped;
    imported.bad = summary.bad.as_ref().map_or(0, |bad| bad.total);
    imported.problems = summary.bad;
    if imported.imported == 0 {
        return Err(RecordsError::Nothing {
            action: "import",
            path: path.to_path_buf(),
            reason: imported.lost(),
        });
    }
    writer.finish()?;
    Ok(imported)
}

impl Imported {
    fn take(
        &mut self,
        row: RawRow,
        spec: &Import,
        seen: &mut HashSet<Digest>,
        writer: &mut RowWriter,
    ) -> Result<(), RecordsError> {
        if row.responses.iter().all(|text| *text == row.responses[0]) {
            self.identical += 1;
            return Ok(());
        }
        let tied = row.scores.iter().all(|score| *score == row.scores[0]);
        let longer = row.longer;
        let line = serde_json::to_vec(&ImportedRow::from(row)).unwrap_or_default();
        if spec.deduplicate && !seen.insert(Digest::of(&line)) {
            self.duplicates += 1;
            return Ok(());
        }
        self.tied += u64::from(tied);
        self.part_before_last_reply += u64::from(longer);
        self.imported += 1;
        writer.line(&line)
    }

    /// Where the rows went if none was written.
    fn lost(&self) -> String {
        let mut parts = Vec::new();
        if self.identical > 0 || self.dropped.is_empty() {
            parts.push(format!("{} rows have identical responses", self.identical));
        }
        let dropped = self.dropped.iter();
        parts
            .extend(dropped.map(|(reason, count)| format!("{count} {}", reason.replace('_', " "))));
        parts.join(", ")
    }
}

/// Reads the set, unless more of its rows are bad than the stage tolerates.
fn read(
    path: &Path,
    range: RowRange,
    spec: &Import,
    sink: &mut dyn FnMut(RawRow) -> bool,
) -> Result<RawSummary, RecordsError> {
    let options = RawOptions {
        format: spec.format,
        language: spec.language.clone(),
        rating: spec.rating,
    };
    let summary = read_raw(path, range, &options, sink)?;
    match summary.bad {
        Some(bad) if is_too_much(&bad, spec.max_bad_share) => Err(RecordsError::TooManyBad {
            share: 100.0 * bad.total as f64 / bad.rows as f64,
            allowed: 100.0 * spec.max_bad_share,
            rows: bad,
        }),
        bad => Ok(RawSummary { bad, ..summary }),
    }
}

fn is_too_much(bad: &RowError, allowed: f64) -> bool {
    bad.total == bad.rows || bad.total as f64 > allowed * bad.rows as f64
}

/// [`read`] for the check before anything runs: keeps no row.
pub(super) fn check(path: &Path, range: RowRange, spec: &Import) -> Result<(), RecordsError> {
    read(path, range, spec, &mut |_| true).map(drop)
}

impl From<RawRow> for ImportedRow {
    fn from(row: RawRow) -> Self {
        let RawRow {
            prompt,
            responses,
            scores,
            ..
        } = row;
        match (<[String; 2]>::try_from(responses), &scores[..]) {
            (Ok([chosen, rejected]), [a, b]) if a > b => Self::Pair {
                prompt,
                chosen,
                rejected,
            },
            (Ok([rejected, chosen]), [a, b]) if a < b => Self::Pair {
                prompt,
                chosen,
                rejected,
            },
            (responses, _) => Self::Ranked {
                prompt,
                responses: responses.map_or_else(|responses| responses, Vec::from),
                scores,
            },
        }
    }
}
