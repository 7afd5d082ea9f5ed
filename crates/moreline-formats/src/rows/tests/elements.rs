use std::io::BufReader;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::rows::elements::{CutError, Elements};

fn cut(text: &str, buffer: usize) -> Result<Vec<(u64, String)>, CutError> {
    let mut elements = Elements::new(BufReader::with_capacity(buffer, text.as_bytes()));
    let mut rows = Vec::new();
    while let Some(element) = elements.next(true)? {
        rows.push((element.line, String::from_utf8(element.text).unwrap()));
    }
    Ok(rows)
}

#[test]
fn an_array_and_lines_give_the_same_rows() {
    let array = cut("\n[ 1,\n {\"a\": [2, \"]\\\"\"]} ,\"x,y\"\n]\n", 1).unwrap();
    let lines = cut("1\n\n{\"a\": [2, \"]\\\"\"]}\r\n  \"x,y\"  ", 1).unwrap();
    let rows = ["1", "{\"a\": [2, \"]\\\"\"]}", "\"x,y\""];
    assert_eq!(array.iter().map(|r| r.0).collect::<Vec<_>>(), [2, 3, 3]);
    assert_eq!(lines.iter().map(|r| r.0).collect::<Vec<_>>(), [1, 3, 4]);
    assert!(array.iter().map(|r| &r.1).eq(rows));
    assert!(lines.iter().map(|r| &r.1).eq(rows));
}

#[test]
fn no_rows_are_no_error() {
    assert!(cut("[]", 8).unwrap().is_empty());
    assert!(cut(" [ \n] \n", 8).unwrap().is_empty());
    assert!(cut("\n \n", 8).unwrap().is_empty());
}

#[test]
fn a_broken_array_is_an_error() {
    for text in [
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1,,2]",
        "[1] 2",
        "[{}\n{}]",
        "[\"a\n\"]",
    ] {
        let rows = cut(text, 8);
        let parsed = rows.map(|rows| {
            rows.iter()
                .all(|r| serde_json::from_str::<Value>(&r.1).is_ok())
        });
        assert!(!matches!(parsed, Ok(true)), "{text}");
    }
}

fn rows() -> impl Strategy<Value = Vec<Value>> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|n| json!(n)),
        "[\\[\\]{},\"\\\\\n a]{0,8}".prop_map(|s| json!(s)),
        Just(Value::Null),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a\"]{1,2}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::vec(value, 0..6)
}

proptest! {
    #[test]
    fn every_array_is_cut_as_serde_reads_it(rows in rows(), pretty: bool, buffer in 1usize..64) {
        let array = Value::Array(rows.clone());
        let text = if pretty { format!("{array:#}") } else { array.to_string() };
        let cut = cut(&text, buffer).unwrap();
        let read: Vec<Value> = cut.iter().map(|r| serde_json::from_str(&r.1).unwrap()).collect();
        prop_assert_eq!(read, rows);
        for (line, row) in &cut {
            let at = text.lines().nth(*line as usize - 1).unwrap();
            prop_assert!(at.contains(row.lines().next().unwrap()));
        }
    }
}
