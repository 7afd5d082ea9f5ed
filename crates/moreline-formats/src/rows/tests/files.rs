use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::rows::source;

const LINES: &str = "{\"text\": [\"a\", \"b\"], \"score\": [1, 0]}\n\n\
                     {\"text\": [\"c\", \"d\"], \"score\": [0, 1]}\n\
                     {\"text\": [\"e\", \"f\"], \"score\": [1, 0]}\n";

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn lines_of(rows: &[PreferenceRow]) -> Vec<u64> {
    rows.iter().map(|row| row.line).collect()
}

#[test]
fn plain_and_gzipped_files_give_the_same_rows() {
    let (_dir, plain) = file_of("p.jsonl", LINES);
    let expected = read_preferences(&plain, all()).unwrap();
    assert_eq!(lines_of(&expected), [1, 3, 4]);
    let mut members = gzip(&LINES[..50]);
    members.extend(gzip(&LINES[50..]));
    // Told by the content, whatever the name; several members are one text.
    for (name, bytes) in [("p.jsonl.gz", gzip(LINES)), ("p.jsonl", members)] {
        let (_dir, path) = file_of(name, bytes);
        assert_eq!(read_preferences(&path, all()).unwrap(), expected);
    }
    let (_dir, marked) = file_of("p.jsonl", format!("\u{feff}{LINES}"));
    assert_eq!(read_preferences(&marked, all()).unwrap(), expected);
}

#[test]
fn a_range_counts_rows_and_checks_only_those() {
    let (_dir, path) = file_of("p.jsonl", format!("{{bad\n{LINES}{{bad\n"));
    let range = RowRange {
        offset: 2,
        limit: Some(2),
    };
    assert_eq!(lines_of(&read_preferences(&path, range).unwrap()), [4, 5]);
    let beyond = RowRange {
        offset: 7,
        limit: None,
    };
    let error = read_preferences(&path, beyond).unwrap_err();
    insta::assert_snapshot!(shown(&error, &path));
}

#[test]
fn files_that_are_no_rows_are_refused() {
    let cut = gzip(LINES);
    let cases: [(&str, &[u8]); 8] = [
        ("empty.jsonl", b""),
        ("blank.json", b" \n"),
        ("array.json", b"[]"),
        ("rows.parquet", b"PAR1\x15\x04\x15"),
        ("rows.bin", b"\x01\x00\x02"),
        ("utf16.json", b"\xff\xfe[\x00"),
        ("cut.jsonl.gz", &cut[..cut.len() - 9]),
        ("notes.md", b"# Notes\nabout data\n"),
    ];
    let mut messages = Vec::new();
    for (name, content) in cases {
        let (_dir, path) = file_of(name, content);
        messages.push(shown(&read_preferences(&path, all()).unwrap_err(), &path));
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.json");
    messages.push(shown(&read_prompts(&missing, all()).unwrap_err(), &missing));
    let folder = read_prompts(dir.path(), all()).unwrap_err();
    messages.push(shown(&folder, dir.path()));
    insta::assert_snapshot!(
        messages
            .join("\n\n")
            .replace(dir.path().file_name().unwrap().to_str().unwrap(), "folder")
    );
}

#[test]
fn a_gzip_that_unpacks_to_too_much_is_refused() {
    use std::io::Read;
    let (_dir, path) = file_of("bomb.gz", gzip(&" ".repeat(1 << 20)));
    let mut source = source::open_bounded("prompt set", &path, 100_000).unwrap();
    let error = source.reader.read_to_end(&mut Vec::new()).unwrap_err();
    let error = source::unreadable("prompt set", &path, &error, Some(source::Packing::Gzip));
    insta::assert_snapshot!(shown(&error, &path));
}
