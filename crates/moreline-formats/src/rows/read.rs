//! The loop all readers share: cut, parse, check, and collect what is wrong.

use std::path::Path;

use moreline_protocol::job::RowRange;
use serde_json::Value;

use super::elements::{CutError, Element, Elements};
use super::error::{REPORTED, RowError, RowProblem};
use super::fields::Reason;
use super::source;

/// Reads the rows of `range`, parsing each with `parse`.
pub(crate) fn read<T>(
    what: &'static str,
    path: &Path,
    range: RowRange,
    mut parse: impl FnMut(Value, Position) -> Result<T, Reason>,
) -> Result<Vec<T>, RowError> {
    let mut rows = Vec::new();
    let streamed = stream(what, path, range, &mut |value, at| {
        rows.push(parse(value, at)?);
        Ok(())
    })?;
    match streamed.bad {
        Some(bad) => Err(bad),
        None => Ok(rows),
    }
}

/// Where a row stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Line it begins on, from 1; absent in files without lines.
    pub(crate) line: Option<u64>,
    /// Row of the file, from 1.
    pub(crate) record: u64,
}

impl Position {
    /// `on line 3`, or `in row 2`.
    pub(crate) fn place(self) -> String {
        match self.line {
            Some(line) => format!("on line {line}"),
            None => format!("in row {}", self.record),
        }
    }
}

/// What [`stream`] found.
#[derive(Debug)]
pub(crate) struct Streamed {
    /// Rows looked at.
    pub(crate) rows: u64,
    /// What is wrong with the bad ones, if there are any.
    pub(crate) bad: Option<RowError>,
    /// How the file is written, for people: `gzip JSON Lines`.
    pub(crate) container: String,
}

/// Parses the rows of `range` one after the other and keeps none. Bad rows are
/// no error here, but a file that cannot be cut into rows is one, and so is one
/// that holds none in `range`.
pub(crate) fn stream(
    what: &'static str,
    path: &Path,
    range: RowRange,
    parse: &mut dyn FnMut(Value, Position) -> Result<(), Reason>,
) -> Result<Streamed, RowError> {
    let source = source::open(what, path)?;
    let packing = source.packing;
    let mut elements = Elements::new(source.reader);
    let mut bad = Collector::default();
    let end = end_of(range);
    let mut record = 0;
    while end.is_none_or(|end| record < end) {
        let wanted = record >= range.offset;
        let element = match elements.next(wanted) {
            Ok(Some(element)) => element,
            Ok(None) => break,
            Err(CutError::Io(error)) => {
                return Err(source::unreadable(what, path, &error, packing));
            }
            Err(error) => {
                bad.rows += 1;
                bad.add_cut(error, record + 1);
                return Err(bad.into_error(what, path));
            }
        };
        record += 1;
        if !wanted {
            continue;
        }
        bad.rows += 1;
        let at = Position {
            line: Some(element.line),
            record,
        };
        let value = parse_json(&element, elements.is_array());
        if let Err(problem) = value.and_then(|value| parse(value, at).map_err(|r| r.at(&element))) {
            bad.add(problem, record);
        }
    }
    let written = if elements.is_array() {
        "JSON"
    } else {
        "JSON Lines"
    };
    let container = match packing {
        Some(packing) => format!("{} {written}", packing.name()),
        None => written.to_owned(),
    };
    bad.into_streamed(what, path, range, record, container)
}

/// The row after the last of a range, from 0.
pub(crate) fn end_of(range: RowRange) -> Option<u64> {
    range.limit.map(|limit| range.offset.saturating_add(limit))
}

/// Cuts a file into rows without looking into them: calls `visit` with each
/// row's text until it says false. Returns the number of rows it was called with.
pub(crate) fn visit(
    what: &'static str,
    path: &Path,
    mut visit: impl FnMut(&[u8]) -> bool,
) -> Result<u64, RowError> {
    let source = source::open(what, path)?;
    let packing = source.packing;
    let mut elements = Elements::new(source.reader);
    let mut bad = Collector::default();
    loop {
        match elements.next(true) {
            Ok(Some(element)) => {
                bad.rows += 1;
                if !visit(&element.text) {
                    return Ok(bad.rows);
                }
            }
            Ok(None) => return Ok(bad.rows),
            Err(CutError::Io(error)) => {
                return Err(source::unreadable(what, path, &error, packing));
            }
            Err(error) => {
                let record = bad.rows + 1;
                bad.add_cut(error, record);
                return Err(bad.into_error(what, path));
            }
        }
    }
}

fn no_rows(what: &'static str, path: &Path, range: RowRange, found: u64) -> RowError {
    if found == 0 && range.limit != Some(0) {
        let hint = "give it a JSON array of rows or one JSON object per line";
        return RowError::whole(what, path, "it holds no rows".into(), hint);
    }
    let reason = match range.limit {
        Some(0) => "`limit` is 0, so no row is read".to_owned(),
        _ => format!(
            "no row is left: `offset` is {} and it holds {found}",
            range.offset
        ),
    };
    RowError::whole(what, path, reason, "change `offset` and `limit`")
}

/// A problem of one row and what to do about it.
struct Located {
    line: u64,
    column: Option<u64>,
    reason: Reason,
}

impl Reason {
    fn at(self, element: &Element) -> Located {
        Located {
            line: element.line,
            column: None,
            reason: self,
        }
    }
}

/// What is wrong with the rows looked at so far.
#[derive(Default)]
pub(crate) struct Collector {
    problems: Vec<RowProblem>,
    total: u64,
    /// Rows looked at.
    pub(crate) rows: u64,
    hint: Option<String>,
}

impl Collector {
    fn add(&mut self, located: Located, record: u64) {
        let Located {
            line,
            column,
            reason,
        } = located;
        self.add_at(Some(line), column, record, reason);
    }

    /// Counts a bad row, and keeps what is wrong with it if it is one of the
    /// first.
    pub(crate) fn add_at(
        &mut self,
        line: Option<u64>,
        column: Option<u64>,
        record: u64,
        reason: Reason,
    ) {
        self.total += 1;
        if self.problems.len() == REPORTED {
            return;
        }
        let Reason { text, hint } = reason;
        self.hint = self.hint.take().or(hint);
        self.problems.push(RowProblem {
            line,
            column,
            record: Some(record),
            reason: text,
        });
    }

    /// The end of a file of which `found` rows were seen.
    pub(crate) fn into_streamed(
        self,
        what: &'static str,
        path: &Path,
        range: RowRange,
        found: u64,
        container: String,
    ) -> Result<Streamed, RowError> {
        let rows = self.rows;
        if rows == 0 {
            return Err(no_rows(what, path, range, found));
        }
        let bad = (self.total > 0).then(|| self.into_error(what, path));
        Ok(Streamed {
            rows,
            bad,
            container,
        })
    }

    /// The file could not be cut into rows from here on.
    fn add_cut(&mut self, error: CutError, record: u64) {
        let CutError::Syntax {
            line,
            column,
            reason,
            begun,
        } = error
        else {
            return;
        };
        let inside = begun.and_then(|begun| parse_json(&begun, true).err());
        let located = match inside {
            // What serde found earlier in the row is the likelier cause.
            Some(found) if (found.line, found.column) < (line, Some(column)) => found,
            _ => Located {
                line,
                column: Some(column),
                reason: Reason::new(format!("malformed JSON: {reason}")),
            },
        };
        self.add(located, record);
    }

    fn into_error(self, what: &'static str, path: &Path) -> RowError {
        let mut error = RowError::new(what, path, self.problems, self.hint.unwrap_or_default());
        error.total = self.total;
        error.rows = self.rows;
        error
    }
}

/// Parses one row; the position of an error is the file's.
fn parse_json(element: &Element, in_array: bool) -> Result<Value, Located> {
    serde_json::from_slice(&element.text).map_err(|error| {
        let (line, column) = (error.line() as u64, error.column() as u64);
        Located {
            line: element.line + line.saturating_sub(1),
            column: Some(match line {
                0 | 1 => element.column + column.saturating_sub(1),
                _ => column.max(1),
            }),
            reason: json_reason(element, &error, in_array),
        }
    })
}

fn json_reason(element: &Element, error: &serde_json::Error, in_array: bool) -> Reason {
    if let Some(literal) = non_finite(&element.text, error) {
        return Reason::new(format!("`{literal}` is not a finite number"))
            .hint("drop the rows whose scores are missing, or score them again");
    }
    let text = error.to_string();
    let plain = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(plain, _)| plain);
    if plain == "number out of range" {
        return Reason::new("a number beyond the range of double precision: infinite");
    }
    let reason = Reason::new(format!("malformed JSON: {plain}"));
    if in_array {
        return reason;
    }
    reason.hint(
        "the file must be one JSON array, or JSON Lines: each row a JSON value on a line of its own",
    )
}

/// Python's `NaN`, `Infinity` or `-Infinity` where the parser stopped.
fn non_finite(text: &[u8], error: &serde_json::Error) -> Option<&'static str> {
    let line_start = match error.line().saturating_sub(1) {
        0 => 0,
        skip => {
            let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            ends.nth(skip - 1)?.0 + 1
        }
    };
    let stop = line_start + error.column().saturating_sub(1);
    (stop.saturating_sub(2)..=stop).find_map(|at| {
        let rest = text.get(at..)?;
        ["NaN", "-Infinity", "Infinity"]
            .into_iter()
            .find(|literal| rest.starts_with(literal.as_bytes()))
    })
}
