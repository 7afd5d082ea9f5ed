use std::fs;
use std::io::Write;
use std::path::PathBuf;

use moreline_protocol::job::RowRange;
use moreline_protocol::rows::Message;
use moreline_protocol::spec::{Rating, RawFormat};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn file_of(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn read_with(text: &str, options: &RawOptions) -> (Vec<RawRow>, RawSummary) {
    let (_dir, path) = file_of("raw.jsonl", text);
    let mut rows = Vec::new();
    let summary = read_raw(&path, RowRange::default(), options, &mut |row| {
        rows.push(row);
        true
    });
    (rows, summary.unwrap())
}

fn read(rows: &[Value]) -> (Vec<RawRow>, RawSummary) {
    read_with(&lines(rows), &RawOptions::default())
}

fn as_format(format: RawFormat) -> RawOptions {
    RawOptions {
        format: Some(format),
        ..RawOptions::default()
    }
}

fn row(prompt: &str, responses: &[&str], scores: &[f64]) -> RawRow {
    RawRow {
        prompt: vec![Message::user(prompt)],
        responses: responses.iter().map(|r| (*r).to_owned()).collect(),
        scores: scores.to_vec(),
        longer: false,
    }
}

/// The message of the bad rows, without the file's directory.
fn bad(summary: &RawSummary) -> String {
    let bad = summary.bad.as_ref().unwrap();
    let dir = bad.file.parent().unwrap().display().to_string();
    let message = bad.to_string().replace(&format!("{dir}/"), "");
    match bad.hint() {
        Some(hint) => format!("{message}\n  help: {hint}"),
        None => message,
    }
}

#[test]
fn webgpt_rows_are_a_question_and_two_scored_answers() {
    let comparison = |a: f64| {
        json!({"question": {"full_text": "Why?", "id": "1"}, "quotes_0": {"title": []},
            "answer_0": "So. [1]", "score_0": a, "answer_1": "No.", "score_1": -a})
    };
    let (rows, summary) = read(&[comparison(-1.0), comparison(0.0)]);
    assert_eq!(summary.format, Some(RawFormat::Webgpt));
    // Negative scores are scores: the second answer is the better one.
    assert_eq!(rows[0], row("Why?", &["So. [1]", "No."], &[-1.0, 1.0]));
    assert_eq!(rows[1].scores, [0.0, 0.0]);
    let mut broken = [comparison(1.0), comparison(1.0), comparison(1.0)];
    broken[0]["answer_1"] = " ".into();
    broken[1]["score_0"] = "high".into();
    broken[2]["question"] = json!({"full": "Why?"});
    let (rows, summary) = read(&broken);
    assert!(rows.is_empty());
    insta::assert_snapshot!(bad(&summary));
}

#[test]
fn summaries_are_of_a_post_or_an_article() {
    let summaries = json!([{"text": " It broke.", "policy": "a"}, {"text": " It works."}]);
    let (rows, summary) = read(&[
        json!({"info": {"post": "My bike", "title": "Help", "subreddit": "bikes", "article": null},
            "summaries": summaries, "choice": 1}),
        json!({"info": {"post": "My bike", "title": null}, "summaries": summaries, "choice": 0}),
        json!({"info": {"post": null, "article": "News"}, "summaries": summaries, "choice": 0}),
        json!({"info": {"post": ""}, "summaries": summaries, "choice": 0}),
        json!({"info": {"post": "p"}, "summaries": summaries, "choice": 2}),
        json!({"info": {"post": "p"}, "summaries": [], "choice": 0}),
    ]);
    assert_eq!(summary.format, Some(RawFormat::SummarizeFromFeedback));
    let prompt = "SUBREDDIT: r/bikes\n\nTITLE: Help\n\nPOST: My bike\n\nTL;DR:";
    let responses = ["It broke.", "It works."];
    assert_eq!(rows[0], row(prompt, &responses, &[0.0, 1.0]));
    assert_eq!(
        rows[1],
        row("POST: My bike\n\nTL;DR:", &responses, &[1.0, 0.0])
    );
    assert_eq!(rows[2].prompt, [Message::user("ARTICLE: News\n\nTL;DR:")]);
    assert_eq!(rows.len(), 3);
    insta::assert_snapshot!(bad(&summary));
}

#[test]
fn ultrafeedback_rows_keep_every_scored_response() {
    let completion = |text: &str, score: Value| json!({"response": text, "overall_score": score, "fine-grained_score": 1.25});
    let set = [
        json!({"instruction": "i", "completions": [completion("a", 7.5.into()),
            completion("b", "6".into()), completion("c", (-1).into())]}),
        json!({"instruction": "i", "completions": [completion("a", 1.into()),
            completion(" ", 1.into()), completion("c", Value::Null)]}),
        json!({"prompt": "p", "completions": [{"text": "a", "score": 1}, {"text": "b", "score": 2}]}),
        json!({"instruction": "i", "completions": [{"response": "a", "fine-grained_score": 1}]}),
    ];
    let (rows, summary) = read(&set);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], row("i", &["a", "b", "c"], &[7.5, 6.0, -1.0]));
    assert_eq!(rows[1], row("p", &["a", "b"], &[1.0, 2.0]));
    let dropped = [
        ("empty_responses", 1),
        ("fewer_than_two_responses", 1),
        ("unrated_responses", 1),
    ];
    assert_eq!(summary.dropped, BTreeMap::from(dropped));
    assert_eq!(summary.bad.as_ref().unwrap().total, 1);
    insta::assert_snapshot!(bad(&summary));
    let options = RawOptions {
        rating: Rating::FineGrained,
        ..RawOptions::default()
    };
    let (rows, _) = read_with(&lines(&set[..1]), &options);
    assert_eq!(rows[0].scores, [1.25; 3]);
}

#[test]
fn trl_rows_may_lack_a_prompt() {
    let user = json!({"role": "user", "content": "q"});
    let reply = |text: &str| json!({"role": "assistant", "content": text});
    let (rows, summary) = read(&[
        json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
        json!({"prompt": [user], "chosen": [reply("a")], "rejected": [reply("b")]}),
        json!({"chosen": [user, reply("a")], "rejected": [user, reply("b")]}),
    ]);
    assert_eq!(summary.format, Some(RawFormat::Trl));
    assert_eq!(rows, vec![row("q", &["a", "b"], &[1.0, 0.0]); 3]);
    // Without a prompt, texts are split only if one asks for it.
    let plain = [
        json!({"chosen": "The sky is blue.", "rejected": "The sky is bright green."}),
        json!({"chosen": "Yes", "rejected": "No"}),
        json!({"chosen": "one two", "rejected": "one"}),
    ];
    let (rows, summary) = read_with(&lines(&plain), &as_format(RawFormat::Trl));
    assert_eq!(
        rows,
        [row(
            "The sky is",
            &[" blue.", " bright green."],
            &[1.0, 0.0]
        )]
    );
    assert_eq!(summary.bad.unwrap().total, 2);
    let (rows, summary) = read(&plain);
    assert!(rows.is_empty());
    assert!(bad(&summary).contains("a text is no published dialogue"));
}

#[test]
fn more_rows_keep_all_responses_and_the_order_of_negative_scores() {
    let dialogue = |reply: &str| format!("\n\nHuman: q\n\nAssistant: {reply}");
    let (rows, summary) = read(&[
        json!({"text": [dialogue("a"), dialogue("b")], "score": [-2.0, -1.0]}),
        json!({"texts": ["q<sep>a", "q<sep>b", "q<sep>c"], "scores": [0.5, 1.5, -7]}),
        json!({"texts": [dialogue("a"), "q<sep>b"], "scores": [0, 1]}),
        json!({"texts": ["q<sep>a", "p<sep>b"], "scores": [0, 1]}),
        json!({"texts": ["q<sep>a", "q<sep>b<sep>c"], "scores": [0, 1]}),
        json!({"texts": [dialogue("what is <sep>?"), dialogue("b")], "scores": [0, 1]}),
    ]);
    assert_eq!(summary.format, Some(RawFormat::More));
    assert_eq!(rows[0], row("q", &["a", "b"], &[-2.0, -1.0]));
    assert_eq!(rows[1], row("q", &["a", "b", "c"], &[0.5, 1.5, -7.0]));
    assert_eq!(rows.len(), 2);
    insta::assert_snapshot!(bad(&summary));
}

fn message(id: &str, parent: Option<&str>, role: &str, rank: Value, replies: Value) -> Value {
    json!({"message_id": id, "parent_id": parent, "message_tree_id": "t", "role": role,
        "text": format!("text {id}"), "rank": rank, "replies": replies, "lang": "en",
        "deleted": false, "review_result": true})
}

fn tree() -> Value {
    let none = || json!([]);
    let reply = |id, rank: Value| message(id, Some("q"), "assistant", rank, none());
    let mut deleted = reply("deleted", 0.into());
    deleted["deleted"] = true.into();
    let mut refused = reply("refused", 5.into());
    refused["review_result"] = false.into();
    let mut unseen = reply("unseen", 6.into());
    unseen["review_result"] = Value::Null;
    let mut foreign = reply("foreign", 7.into());
    foreign["lang"] = "de".into();
    deleted["replies"] = json!([message(
        "under",
        Some("deleted"),
        "prompter",
        json!(0),
        none()
    )]);
    let replies = json!([
        reply("second", json!(2.0)),
        deleted,
        reply("first", 1.into()),
        refused,
        reply("unranked", Value::Null),
        unseen,
        foreign,
    ]);
    let lonely = json!([message("only", Some("q2"), "assistant", json!(0), none())]);
    let root_replies = json!([message(
        "a",
        Some("root"),
        "assistant",
        json!(0),
        json!([
            message("q", Some("a"), "prompter", json!(0), replies),
            message("q2", Some("a"), "prompter", json!(1), lonely),
        ])
    ),]);
    let root = message("root", None, "prompter", Value::Null, root_replies);
    json!({"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": root})
}

/// The messages of a tree one by one, in depth-first order.
fn flat(message: &Value, rows: &mut Vec<Value>) {
    let mut own = message.clone();
    let replies = own.as_object_mut().unwrap().remove("replies").unwrap();
    rows.push(own);
    for reply in replies.as_array().unwrap() {
        flat(reply, rows);
    }
}

#[test]
fn oasst_trees_give_ranked_siblings_nested_and_flat() {
    let options = RawOptions {
        language: Some("en".into()),
        ..RawOptions::default()
    };
    let mut messages = Vec::new();
    flat(&tree()["prompt"], &mut messages);
    let nested = read_with(&lines(&[tree()]), &options);
    let flat = read_with(&lines(&messages), &options);
    let sorted = |mut rows: Vec<RawRow>| {
        for row in &mut rows {
            let mut pairs: Vec<_> = row.responses.drain(..).zip(row.scores.drain(..)).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            (row.responses, row.scores) = pairs.into_iter().unzip();
        }
        rows
    };
    for (rows, summary) in [nested, flat] {
        assert_eq!(summary.format, Some(RawFormat::Oasst));
        let rows = sorted(rows);
        let [row] = &rows[..] else {
            panic!("one row: {rows:?}");
        };
        let prompt: Vec<_> = row.prompt.iter().map(|m| (&*m.role, &*m.content)).collect();
        assert_eq!(
            prompt,
            [
                ("user", "text root"),
                ("assistant", "text a"),
                ("user", "text q")
            ]
        );
        assert_eq!(row.responses, ["text first", "text second"]);
        assert_eq!(row.scores, [1.0, 0.0]);
        let dropped = BTreeMap::from([
            ("deleted_messages", 1),
            ("messages_in_other_languages", 1),
            ("messages_under_left_out_ones", 1),
            ("prompts_with_fewer_than_two_ranked_replies", 2),
            ("rejected_messages", 1),
            ("unranked_replies", 1),
            ("unreviewed_messages", 1),
        ]);
        assert_eq!(summary.dropped, dropped);
        assert!(summary.bad.is_none());
    }
}

#[test]
fn flat_trees_that_are_torn_apart_are_told() {
    let mut messages = Vec::new();
    flat(&tree()["prompt"], &mut messages);
    let mut other = message("x", None, "prompter", Value::Null, json!([]));
    other["message_tree_id"] = "u".into();
    messages.insert(5, other);
    let (_, summary) = read(&messages);
    assert!(bad(&summary).contains("the messages of tree t do not stand together"));
    // A parent that is not there, and a circle, are in reach of no root.
    let orphan = message("o", Some("gone"), "assistant", json!(0), json!([]));
    let a = message("a", Some("b"), "prompter", json!(0), json!([]));
    let b = message("b", Some("a"), "assistant", json!(0), json!([]));
    let (rows, summary) = read(&[orphan, a, b]);
    assert!(rows.is_empty());
    assert_eq!(summary.dropped["messages_without_parent"], 3);
}

#[test]
fn the_form_is_told_by_the_first_known_row_or_by_the_user() {
    let rows = [
        json!({"note": "not a row"}),
        json!({"prompt": "q", "responses": ["a", "b"], "scores": [1, 0]}),
        json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
        json!({"question": {"full_text": "q"}, "answer_0": "a", "answer_1": "b", "score_0": 1, "score_1": 0}),
    ];
    let (found, summary) = read(&rows);
    assert_eq!(summary.format, Some(RawFormat::Moreline));
    assert_eq!((found.len(), summary.rows), (2, 4));
    let named = read_with(&lines(&rows), &as_format(RawFormat::Webgpt));
    assert_eq!((named.0.len(), named.1.bad.unwrap().total), (1, 3));
    let (found, summary) = read_with(&lines(&rows[1..3]), &as_format(RawFormat::Moreline));
    assert_eq!(found.len(), 1);
    insta::assert_snapshot!(bad(&summary));
    let (_, summary) = read(&rows[..1]);
    assert_eq!(summary.format, None);
    insta::assert_snapshot!(bad(&summary));
}

#[test]
fn zstd_is_read_and_a_cut_stream_is_told() {
    let text = lines(&vec![
        json!({"prompt": "q", "chosen": "a", "rejected": "b"});
        50
    ]);
    let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let mut rows = 0;
    let mut count = |content: &[u8]| {
        let (_dir, path) = file_of("raw.jsonl.zst", content);
        read_raw(
            &path,
            RowRange::default(),
            &RawOptions::default(),
            &mut |_| {
                rows += 1;
                true
            },
        )
    };
    let summary = count(&packed).unwrap();
    assert_eq!((&*summary.container, summary.rows), ("zstd JSON Lines", 50));
    let error = count(&packed[..packed.len() - 6]).unwrap_err().to_string();
    assert!(
        error.contains("raw.jsonl.zst: the zstd stream is cut short or damaged"),
        "{error}"
    );
    // The window is what a decoder must hold: more than 128 MiB is refused.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(text.as_bytes()).unwrap();
    let error = count(&encoder.finish().unwrap()).unwrap_err().to_string();
    assert!(error.contains("zstd stream"), "{error}");
    assert_eq!(rows, 50);
}

#[test]
fn an_enormous_line_is_an_error_and_not_held() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(b"{\"prompt\": \"").unwrap();
    for _ in 0..65 {
        encoder.write_all(&[b'x'; 1 << 20]).unwrap();
    }
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 1 << 16);
    let (_dir, path) = file_of("bomb.jsonl.zst", packed);
    let error = read_raw(
        &path,
        RowRange::default(),
        &RawOptions::default(),
        &mut |_| true,
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("a row of more than 64 MiB"), "{error}");
}

#[test]
fn a_sink_that_has_enough_gets_no_more() {
    let text = lines(&vec![
        json!({"prompt": "q", "chosen": "a", "rejected": "b"});
        5
    ]);
    let (_dir, path) = file_of("raw.jsonl", text);
    let mut given = 0;
    read_raw(
        &path,
        RowRange::default(),
        &RawOptions::default(),
        &mut |_| {
            given += 1;
            given < 2
        },
    )
    .unwrap();
    assert_eq!(given, 2);
}
