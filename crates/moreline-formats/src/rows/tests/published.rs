use moreline_protocol::rows::{Finish, Message, Response};
use serde_json::{Value, json};

use super::*;
use crate::rows::published::write_responses;

fn responses(rows: &[Value]) -> Result<Vec<ResponseRow>, RowError> {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let (_dir, path) = file_of("r.jsonl", text);
    read_responses(&path, all())
}

fn texts(row: &ResponseRow) -> Vec<&str> {
    row.responses.iter().map(|r| r.text.as_str()).collect()
}

fn scores(row: &ResponseRow) -> Vec<Option<f64>> {
    row.responses.iter().map(|r| r.score).collect()
}

#[test]
fn every_published_form_is_read() {
    let rows = responses(&[
        json!({"text": "q<sep>a", "score": -0.5}),
        json!({"texts": ["\n\nHuman: q\n\nAssistant:<sep> a", "\n\nHuman: q\n\nAssistant:<sep> b"],
            "scores": [1, 2]}),
        json!({"text": ["\n\nHuman: q\n\nAssistant: a", "\n\nHuman: q\n\nAssistant: b"], "score": [1, 0], "conf": 0.7}),
        json!({"query": "\n\nHuman: q\n\nAssistant:", "sample_0": " a", "sample_1": "b"}),
        json!({"id": 9, "prompt": "q", "answer": ["a", ""]}),
        json!({"id": 10, "prompt": [{"role": "user", "content": "q"}], "answer": "a"}),
        json!({"text": "\n\nHuman: q\n\nAssistant: x\n\nHuman: r\n\nAssistant: a"}),
    ])
    .unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [0, 1, 2, 3, 9, 10, 6]);
    for row in &rows[..6] {
        assert_eq!(row.prompt, [Message::user("q")]);
    }
    assert_eq!(rows[6].prompt.len(), 3);
    let found: Vec<_> = rows.iter().map(texts).collect();
    let expected: [&[&str]; 7] = [
        &["a"],
        &["a", "b"],
        &["a", "b"],
        &["a", "b"],
        &["a", ""],
        &["a"],
        &["a"],
    ];
    assert_eq!(found, expected);
    assert_eq!(scores(&rows[0]), [Some(-0.5)]);
    assert_eq!(scores(&rows[1]), [Some(1.0), Some(2.0)]);
    assert_eq!(scores(&rows[3]), [None, None]);
}

#[test]
fn rows_that_can_be_read_in_two_ways_are_refused_with_their_lines() {
    let error = responses(&[
        json!({"text": "q<sep>a", "score": 1}),
        json!({"text": "what is <sep>?<sep>a border", "score": 1}),
        json!({"text": "\n\nHuman: what is <sep>?\n\nAssistant: a border", "score": 1}),
        json!({"texts": ["q<sep>a", "other<sep>b"], "scores": [1, 2]}),
        json!({"texts": ["q<sep>a", "q<sep>b"], "scores": [1]}),
        json!({"text": "neither", "score": 1}),
        json!({"query": "q", "sample_0": "a", "sample_2": "b"}),
        json!({"query": "q", "sample_0": 1}),
        json!({"query": "q"}),
        json!({"id": 0, "query": "q", "answer": "a"}),
        json!({"id": "x", "query": "q", "answer": "a"}),
        json!({"texts": [], "scores": []}),
    ])
    .unwrap_err();
    let path = error.file.clone();
    insta::assert_snapshot!(shown(&error, &path));
}

#[test]
fn a_border_in_a_field_of_its_own_is_text() {
    let rows = responses(&[json!({"query": "what is <sep>?", "sample_0": "<sep> is a border"})]);
    let rows = rows.unwrap();
    assert_eq!(rows[0].prompt, [Message::user("what is <sep>?")]);
    assert_eq!(texts(&rows[0]), ["<sep> is a border"]);
}

#[test]
fn a_separator_is_never_fed_to_a_model() {
    let text = r#"{"text": ["q<sep>a", "q<sep>b"], "score": [1, 0]}"#;
    let (_dir, path) = file_of("p.jsonl", text);
    let error = read_preferences(&path, all()).unwrap_err();
    insta::assert_snapshot!(shown(&error, &path));
}

fn row(prompt: Vec<Message>, texts: &[&str], score: Option<f64>) -> ResponseRow {
    let response = |text: &&str| Response {
        text: (*text).to_owned(),
        tokens: 0,
        finish: Finish::Stop,
        logprob: None,
        score,
    };
    ResponseRow {
        id: 0,
        prompt,
        responses: texts.iter().map(response).collect(),
        reference: None,
    }
}

fn message(role: &str, content: &str) -> Message {
    Message {
        role: role.into(),
        content: content.into(),
    }
}

#[test]
fn what_is_written_is_read_back() {
    let dialogue = vec![
        message("user", "Hi"),
        message("assistant", "Hello.\n\nWell?"),
        message("user", " A word for big?\n"),
    ];
    for (prompt, score) in [
        (vec![Message::user("q")], Some(0.25)),
        (dialogue.clone(), Some(-3.0)),
        (dialogue, None),
    ] {
        let row = row(prompt, &["Large.", "", " spaces "], score);
        let written = write_responses(&row).unwrap();
        assert_eq!(written.get("texts").is_some(), score.is_some());
        assert_eq!(responses(&[written]).unwrap(), [row]);
    }
}

#[test]
fn what_would_be_read_otherwise_is_not_written() {
    let scored = |prompt: Vec<Message>, text| write_responses(&row(prompt, &[text], Some(1.0)));
    let user = |text: &str| vec![Message::user(text)];
    for (prompt, text) in [
        (user("what is <sep>?"), "a"),
        (user("q"), "a <sep> b"),
        (user("q\n\nAssistant: x"), "a"),
        (vec![message("system", "s"), message("user", "q")], "a"),
    ] {
        let reason = scored(prompt, text).unwrap_err();
        assert!(reason.text.contains("cannot be written"), "{}", reason.text);
    }
    // Fields of their own need no separator.
    let unscored = row(user("q"), &["a <sep> b"], None);
    let written = write_responses(&unscored).unwrap();
    assert_eq!(responses(&[written]).unwrap(), [unscored]);
}
