use super::*;

fn message(text: &str) -> String {
    let (_dir, path) = file_of("p.jsonl", text);
    shown(&read_preferences(&path, all()).unwrap_err(), &path)
}

#[test]
fn bad_preference_rows() {
    let cases = [
        r#"{"text": ["a", "b"], "score": [1, 0, 2]}"#,
        r#"{"text": ["a"], "score": [1]}"#,
        r#"{"text": [], "score": []}"#,
        r#"{"text": ["a", "b"], "score": [1, NaN]}"#,
        r#"{"text": ["a", "b"], "score": [-Infinity, 1]}"#,
        r#"{"text": ["a", "b"], "score": [1e999, 1]}"#,
        r#"{"text": ["a", "b"], "score": ["1.0", 0]}"#,
        r#"{"text": ["a", "b"], "score": [null, 0]}"#,
        r#"{"text": ["a", "b"], "score": 1}"#,
        r#"{"text": "a", "score": [1, 0]}"#,
        r#"{"text": ["a", " \n"], "score": [1, 0]}"#,
        r#"{"text": ["a", 7], "score": [1, 0]}"#,
        r#"{"text": ["a", "b"], "label": 1}"#,
        r#"{}"#,
        r#"["a", "b"]"#,
        "\"a\"",
        r#"{"prompt": "q", "chosen": "", "rejected": "b"}"#,
        r#"{"prompt": "", "chosen": "a", "rejected": "b"}"#,
        r#"{"responses": ["a", "b"], "scores": [1, 0]}"#,
        r#"{"prompt": [], "chosen": "a", "rejected": "b"}"#,
        r#"{"prompt": [{"role": "assistant", "content": "x"}], "chosen": "a", "rejected": "b"}"#,
        r#"{"prompt": [{"role": "human", "content": "x"}], "chosen": "a", "rejected": "b"}"#,
        r#"{"prompt": [{"content": "x"}], "chosen": "a", "rejected": "b"}"#,
        r#"{"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "b"}]}"#,
        r#"{"chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}"#,
    ];
    let messages: Vec<_> = cases
        .iter()
        .map(|case| format!("{case}\n{}", message(&format!("{case} "))))
        .collect();
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn malformed_json() {
    let good = "{\"text\": [\"a\", \"b\"], \"score\": [1, 0]}";
    let cases = [
        (
            "a missing brace in lines",
            format!("{good}\n{{\"text\": [\"a\"\n{good}\n"),
        ),
        (
            "an object over several lines",
            "{\n\"text\": [\"a\", \"b\"],\n\"score\": [1, 0]\n}\n".into(),
        ),
        (
            "a missing comma between rows",
            format!("[\n{good}\n{good}\n]"),
        ),
        ("a comma too many", format!("[\n{good},\n]")),
        (
            "an array cut short",
            format!("[\n{good},\n{{\"text\": [\"a\", "),
        ),
        (
            "a missing quote",
            format!("[\n{good},\n{{\"text: [\"a\",\n \"b\"]}}]"),
        ),
        (
            "a missing brace in an array",
            format!("[\n{good},\n{{\"text\": [\"a\", \"b\"],\n{good}\n]"),
        ),
        (
            "a wrong value in an array",
            format!("[\n{good},\n{{\n\"text\": [\"a\",\n \"b\", oops]}}]"),
        ),
        (
            "NaN on a later line",
            format!("[\n{good},\n{{\n\"text\": [\"a\",\n \"b\"],\n\"score\": [1,\nNaN]}}]"),
        ),
        ("text after the array", format!("[\n{good}]\n{good}")),
    ];
    let messages: Vec<_> = cases
        .iter()
        .map(|(name, text)| format!("{name}\n{}", message(text)))
        .collect();
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn the_first_ten_bad_rows_are_shown_and_all_counted() {
    let good = "{\"text\": [\"a\", \"b\"], \"score\": [1, 0]}\n";
    let bad = "{\"text\": [\"a\", \"b\"], \"score\": [1]}\n";
    insta::assert_snapshot!(message(&format!("{good}{}{good}", bad.repeat(13))));
}

#[test]
fn a_set_of_ties_is_refused() {
    let (_dir, path) = file_of(
        "p.jsonl",
        "{\"text\": [\"a\", \"b\"], \"score\": [1, 1]}\n".repeat(3),
    );
    let rows = read_preferences(&path, all()).unwrap();
    let error = check_preferences(&path, &rows).unwrap_err();
    insta::assert_snapshot!(shown(&error, &path));
    let decided = [PreferenceRow {
        scores: vec![1.0, 1.0, 2.0],
        ..rows[0].clone()
    }];
    check_preferences(&path, &decided).unwrap();
}

#[test]
fn bad_prompts_examples_and_responses() {
    let (_dir, prompts) = file_of(
        "prompts.jsonl",
        r#"{"question": "a"}
           7
           ""
           {"prompt": "a", "answer": 3}
           {"messages": [{"role": "assistant", "content": "a"}]}
           {"messages": [{"role": "user", "content": ["a"]}]}"#,
    );
    let (_dir2, examples) = file_of(
        "examples.jsonl",
        r#"{"prompt": "a"}
           {"prompt": "a", "answer": "b", "score": "high"}"#,
    );
    let (_dir3, responses) = file_of(
        "responses.jsonl",
        r#"{"id": 0, "prompt": [], "responses": [{"text": "a"}]}
           {"id": 0, "prompt": [], "responses": [{"text": "a"}]}
           {"id": 1, "prompt": [], "responses": []}
           {"id": 2, "prompt": []}"#,
    );
    let messages = [
        shown(&read_prompts(&prompts, all()).unwrap_err(), &prompts),
        shown(&read_examples(&examples, all()).unwrap_err(), &examples),
        shown(&read_responses(&responses, all()).unwrap_err(), &responses),
    ];
    insta::assert_snapshot!(messages.join("\n\n"));
}
