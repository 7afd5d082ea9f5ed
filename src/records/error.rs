//! Errors of the record stages.

use std::io;
use std::path::PathBuf;

use moreline_formats::rows::RowError;
use moreline_protocol::artifact::RESPONSES;

use crate::config::Place;
use crate::engine::StageFailure;

/// Why a record stage failed. Messages complete "failed to ...".
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The input rows are bad.
    #[error(transparent)]
    Rows(#[from] RowError),
    /// More rows are bad than the stage tolerates.
    #[error(
        "import rows, of which {share:.2} % are bad and `max_bad_share` allows {allowed} %: {rows}"
    )]
    TooManyBad {
        /// The bad rows.
        rows: RowError,
        /// Their share in percent.
        share: f64,
        /// The share allowed, in percent.
        allowed: f64,
    },
    /// Responses without a score.
    #[error(
        "select from {}: {count} responses have no score, the first of them sample {sample} of prompt {id}",
        path.display()
    )]
    Unscored {
        /// The responses.
        path: PathBuf,
        /// How many lack a score.
        count: usize,
        /// The first one's prompt.
        id: u64,
        /// The first one's sample, from 0.
        sample: usize,
    },
    /// A strategy without the value it needs.
    #[error("select by threshold: `threshold` is not set")]
    NoThreshold,
    /// Nothing is left.
    #[error("{action} {}: nothing is left: {reason}", path.display())]
    Nothing {
        /// `select from` or `import`.
        action: &'static str,
        /// The input.
        path: PathBuf,
        /// Where the rows went.
        reason: String,
    },
    /// Responses that the published form cannot hold.
    #[error("write {} in the published form: {reason}", path.display())]
    NotPublishable {
        /// The responses.
        path: PathBuf,
        /// Which of them, and why.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A directory without responses.
    #[error("find {} in {}: the stage gives no responses", RESPONSES, dir.display())]
    NoResponses {
        /// The directory.
        dir: PathBuf,
    },
    /// An output could not be written.
    #[error("write {}: {source}", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The job lacks an input.
    #[error("find the stage's input `{0}` in its job")]
    NoInput(&'static str),
    /// The stage is of another kind.
    #[error("run a `{0}` stage as a record stage")]
    NotARecordStage(&'static str),
}

impl RecordsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Rows(rows) => rows.hint().map(str::to_owned),
            Self::TooManyBad { rows, .. } if rows.total == rows.rows => {
                rows.hint().map(str::to_owned)
            }
            Self::TooManyBad { share, .. } => Some(format!(
                "mend the rows, or leave them out with `max_bad_share = {}`",
                ceiling(*share)
            )),
            Self::Unscored { .. } => {
                Some("let `responses` name a `score` stage, not the `generate` stage".into())
            }
            Self::NotPublishable { hint, .. } => hint.clone(),
            Self::NoResponses { .. } => {
                Some("name a `generate` or a `score` stage, or leave out --published".into())
            }
            Self::NoThreshold => Some("add `threshold = 0.0`, or whatever score is enough".into()),
            Self::Nothing { .. } => Some("loosen what leaves rows out, or give more rows".into()),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some disk space (`moreline cache gc` helps) and run again".into())
            }
            Self::Write { .. } | Self::NoInput(_) | Self::NotARecordStage(_) => None,
        }
    }
}

impl RecordsError {
    /// Where the first bad row is.
    fn place(&self) -> Option<Place> {
        let (Self::Rows(rows) | Self::TooManyBad { rows, .. }) = self else {
            return None;
        };
        let first = rows.problems.first()?;
        Some(Place {
            line: first.line,
            column: first.column,
            ..Place::file(rows.file.display().to_string())
        })
    }
}

/// A share in percent as a fraction, rounded up to two significant digits.
fn ceiling(percent: f64) -> f64 {
    let share = percent / 100.0;
    let scale = 10f64.powi(1 - share.log10().floor() as i32);
    ((share * scale).ceil() / scale).min(1.0)
}

impl From<RecordsError> for StageFailure {
    fn from(error: RecordsError) -> Self {
        let failure = Self::new(error.to_string()).at(error.place());
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}
