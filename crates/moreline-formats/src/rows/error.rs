//! The error of the row readers.

use std::fmt;
use std::path::{Path, PathBuf};

/// Bad rows reported in full; the others are counted.
pub(crate) const REPORTED: usize = 10;

/// Why a row file could not be used. Its message completes "failed to ..." and
/// names the file and the lines; [`RowError::hint`] is the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// What the file was read as, for example `preference set`.
    pub what: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong: the first ten problems, in the file's order.
    pub problems: Vec<RowProblem>,
    /// How many problems there are in all.
    pub total: u64,
    /// Rows looked at.
    pub rows: u64,
    hint: Option<String>,
}

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    /// Line, from 1; absent if the whole file is meant, or the file has no lines.
    pub line: Option<u64>,
    /// Column in bytes, from 1, for malformed JSON.
    pub column: Option<u64>,
    /// Row of the file, from 1.
    pub record: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl RowError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// A problem of the file as a whole.
    pub(crate) fn whole(
        what: &'static str,
        file: &Path,
        reason: String,
        hint: impl Into<String>,
    ) -> Self {
        let problem = RowProblem {
            line: None,
            column: None,
            record: None,
            reason,
        };
        Self::new(what, file, vec![problem], hint.into())
    }

    pub(crate) fn new(
        what: &'static str,
        file: &Path,
        problems: Vec<RowProblem>,
        hint: String,
    ) -> Self {
        Self {
            what,
            file: file.to_path_buf(),
            total: problems.len() as u64,
            rows: 0,
            problems,
            hint: (!hint.is_empty()).then_some(hint),
        }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the {} {}: ", self.what, self.file.display())?;
        if let ([problem], 1) = (self.problems.as_slice(), self.total) {
            return write!(f, "{problem}");
        }
        write!(f, "{} of the {} rows read are bad", self.total, self.rows)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        match self.total - self.problems.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for RowError {}

impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(column) = self.column {
                write!(f, ", column {column}")?;
            }
            if let Some(record) = self.record {
                write!(f, " (row {record})")?;
            }
            write!(f, ": ")?;
        } else if let Some(record) = self.record {
            write!(f, "row {record}: ")?;
        }
        write!(f, "{}", self.reason)
    }
}
