//! Rows of Parquet files as JSON values.
//!
//! A file from outside may claim anything. What the footer and the pages' headers
//! say is checked before a page is unpacked ([`pages`]), texts are counted as they
//! come, and a panic of the `parquet` crate on a damaged file is an error of the
//! file.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use moreline_protocol::job::RowRange;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use super::pages;
use crate::rows::RowError;
use crate::rows::elements::MAX_ROW;
use crate::rows::fields::Reason;
use crate::rows::read::{Collector, Position, Streamed, end_of};
use crate::rows::source::{MAX_BYTES, PARQUET, unreadable};

/// True for a file that begins like one.
pub(super) fn is_parquet(path: &Path) -> bool {
    let mut head = [0; PARQUET.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == *PARQUET
}

/// Parses the rows of `range` one after the other.
pub(super) fn stream(
    what: &'static str,
    path: &Path,
    range: RowRange,
    parse: &mut dyn FnMut(Value, Position) -> Result<(), Reason>,
) -> Result<Streamed, RowError> {
    let damaged = |reason: String| {
        RowError::whole(
            what,
            path,
            format!("the Parquet file is cut short or damaged ({reason})"),
            "fetch the file again",
        )
    };
    let file = File::open(path).map_err(|error| unreadable(what, path, &error, None))?;
    let mut rows = guarded(|| open(file)).map_err(damaged)?;
    let mut bad = Collector::default();
    let end = end_of(range);
    let mut record = 0;
    let mut left = MAX_BYTES;
    while end.is_none_or(|end| record < end) {
        let next = guarded(|| rows.next().transpose().map_err(|error| error.to_string()));
        let Some(row) = next.map_err(damaged)? else {
            break;
        };
        record += 1;
        if record <= range.offset {
            continue;
        }
        bad.rows += 1;
        let mut budget = MAX_ROW;
        let value = object(&row, &mut budget);
        left = left
            .checked_sub((MAX_ROW - budget) as u64)
            .ok_or_else(|| too_much(what, path))?;
        let at = Position { line: None, record };
        if let Err(reason) = value.and_then(|value| parse(value, at)) {
            bad.add_at(None, None, record, reason);
        }
    }
    bad.into_streamed(what, path, range, record, "Parquet".to_owned())
}

fn too_much(what: &'static str, path: &Path) -> RowError {
    let reason = "it holds more text than the 16 GiB a row file may";
    RowError::whole(what, path, reason.to_owned(), "split the file")
}

fn open(mut file: File) -> Result<RowIter<'static>, String> {
    let copy = file.try_clone().map_err(|error| error.to_string())?;
    let reader = SerializedFileReader::new(copy).map_err(|error| error.to_string())?;
    for group in reader.metadata().row_groups() {
        for column in group.columns() {
            pages::check(&mut file, column)?;
        }
    }
    Ok(RowIter::from_file_into(Box::new(reader)))
}

/// Turns a panic into an error.
fn guarded<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err("the reader of Parquet files gave up".to_owned()))
}

/// A row or a struct. `budget` is what its texts may still take.
fn object(row: &Row, budget: &mut usize) -> Result<Value, Reason> {
    let mut fields = Map::new();
    for (name, field) in row.get_column_iter() {
        fields.insert(name.clone(), value(name, field, budget)?);
    }
    Ok(Value::Object(fields))
}

fn value(name: &str, field: &Field, budget: &mut usize) -> Result<Value, Reason> {
    let mut text = |text: &str| {
        *budget = budget
            .checked_sub(text.len())
            .ok_or_else(|| Reason::new(format!("a row of more than {} MiB", MAX_ROW >> 20)))?;
        Ok(Value::String(text.to_owned()))
    };
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) | Field::Date(number) | Field::TimeMillis(number) => (*number).into(),
        Field::Long(number)
        | Field::TimeMicros(number)
        | Field::TimestampMillis(number)
        | Field::TimestampMicros(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float16(number) => float(f64::from(f32::from(*number))),
        Field::Float(number) => float(f64::from(*number)),
        Field::Double(number) => float(*number),
        Field::Str(string) => text(string)?,
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(string) => text(string)?,
            Err(_) => return Err(Reason::new(format!("column `{name}` is no text (UTF-8)"))),
        },
        // Nothing that is read here is a decimal; its digits say enough.
        Field::Decimal(_) => text(&field.to_string())?,
        Field::Group(row) => object(row, budget)?,
        Field::ListInternal(list) => {
            let elements = list.elements().iter();
            let elements = elements.map(|element| value(name, element, budget));
            Value::Array(elements.collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let mut entries = Map::new();
            for (key, inner) in map.entries() {
                let key = match key {
                    Field::Str(key) => key.clone(),
                    other => other.to_string(),
                };
                entries.insert(key, value(name, inner, budget)?);
            }
            Value::Object(entries)
        }
    })
}

/// A number; null, as for a missing one, if it is not finite.
fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
