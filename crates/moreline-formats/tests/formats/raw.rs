//! Raw preference sets: the same rows as Parquet and as JSON Lines, and damage.

use std::fs;
use std::path::Path;

use moreline_formats::rows::RowError;
use moreline_formats::rows::raw::{RawOptions, RawRow, RawSummary, read_raw};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::RawFormat;

use super::golden;

fn read_range(path: &Path, range: RowRange) -> Result<(Vec<RawRow>, RawSummary), RowError> {
    let mut rows = Vec::new();
    let summary = read_raw(path, range, &RawOptions::default(), &mut |row| {
        rows.push(row);
        true
    })?;
    Ok((rows, summary))
}

fn read(path: &Path) -> Result<(Vec<RawRow>, RawSummary), RowError> {
    read_range(path, RowRange::default())
}

const SETS: [(&str, RawFormat, usize); 4] = [
    ("webgpt", RawFormat::Webgpt, 7),
    ("ultrafeedback", RawFormat::Ultrafeedback, 6),
    ("oasst", RawFormat::Oasst, 3),
    ("trl", RawFormat::Trl, 5),
];

#[test]
fn parquet_gives_the_rows_of_the_same_set_in_json() {
    for (name, format, count) in SETS {
        let (lines, from_lines) = read(&golden(&format!("raw/{name}.jsonl"))).unwrap();
        let (rows, summary) = read(&golden(&format!("raw/{name}.parquet"))).unwrap();
        assert_eq!(rows, lines, "{name}");
        assert_eq!(rows.len(), count, "{name}");
        assert_eq!(summary.format, Some(format));
        assert_eq!(summary.rows, from_lines.rows);
        assert_eq!(summary.dropped, from_lines.dropped);
        assert!(summary.bad.is_none());
        assert_eq!(summary.container, "Parquet");
        assert_eq!(from_lines.container, "JSON Lines");
    }
}

#[test]
fn nested_columns_come_whole() {
    let (rows, summary) = read(&golden("raw/ultrafeedback.parquet")).unwrap();
    assert_eq!(rows[2].prompt[0].content, "Count to 2.");
    assert_eq!(rows[2].responses, ["1 2", "1 2 3", "1 2 3 4"]);
    assert_eq!(rows[2].scores, [8.0, 7.0, 6.0]);
    // The completion without a rating is left out, not taken for a bad one.
    assert_eq!(rows[3].responses, ["1 2 3", "1 2 3 4 5"]);
    assert_eq!(summary.dropped["unrated_responses"], 1);
}

#[test]
fn a_range_of_parquet_rows_crosses_row_groups() {
    let range = RowRange {
        offset: 3,
        limit: Some(3),
    };
    let (rows, summary) = read_range(&golden("raw/webgpt.parquet"), range).unwrap();
    let prompts: Vec<_> = rows.iter().map(|row| &*row.prompt[0].content).collect();
    assert_eq!(
        prompts,
        ["Why is 3 small?", "Why is 4 small?", "Why is 5 small?"]
    );
    assert_eq!(summary.rows, 3);
}

/// Whatever is cut off or changed, it is an error that names the file, or the
/// rows are told bad; never a panic, and never other rows without a word.
#[test]
fn damaged_parquet_is_told() {
    let whole = fs::read(golden("raw/webgpt.parquet")).unwrap();
    let (good, _) = read(&golden("raw/webgpt.parquet")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.parquet");
    for length in [4, 8, 100, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("cut.parquet: the Parquet file is cut short or damaged"),
            "{error}"
        );
    }
    let mut failed = 0;
    for at in (4..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        match read(&path) {
            Err(error) => {
                assert!(error.to_string().contains("cut.parquet"), "{error}");
                failed += 1;
            }
            Ok((rows, _)) => assert!(rows.len() <= good.len()),
        }
    }
    assert!(failed > 10, "{failed}");
}
