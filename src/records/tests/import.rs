use std::cell::RefCell;

use moreline_formats::rows::read_preferences;
use moreline_protocol::artifact::PAIRS;
use serde_json::json;

use super::*;

fn spec(settings: Value) -> StageSpec {
    let mut spec = json!({"kind": "import", "data": "raw"});
    for (key, value) in settings.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

/// Rows in the raw form, from (chosen, rejected).
fn raw(rows: &[(&str, &str)]) -> String {
    rows.iter()
        .map(|(chosen, rejected)| format!("{}\n", json!({"chosen": chosen, "rejected": rejected})))
        .collect()
}

const GOOD: (&str, &str) = (
    "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: A word for big?\n\nAssistant: Large. ",
    "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: A word for big?\n\nAssistant: No",
);

fn user(content: &str) -> Value {
    json!({"role": "user", "content": content})
}

#[test]
fn the_shared_dialogue_becomes_the_prompt() {
    let early = (
        "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: More\n\nAssistant: So",
        "\n\nHuman: Hi\n\nAssistant: Go away",
    );
    let hash = (
        "## Human:\nHi\n\n## Assistant:\nHo",
        "## Human:\nHi\n\n## Assistant:\nHe",
    );
    let (_dir, job) = job("data", &raw(&[GOOD, early, hash]), spec(json!({})));
    let metrics = run_stage(&job, &|_| {}).unwrap();
    assert_eq!(
        (&metrics["imported"], &metrics["rows"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(metrics["part_before_last_reply"], 1);
    let hello = json!({"role": "assistant", "content": "Hello!"});
    assert_eq!(
        output(&job, PAIRS),
        [
            json!({"prompt": [user("Hi"), hello, user("A word for big?")], "chosen": "Large. ", "rejected": "No"}),
            json!({"prompt": [user("Hi")], "chosen": "Hello!\n\nHuman: More\n\nAssistant: So", "rejected": "Go away"}),
            json!({"prompt": [user("Hi")], "chosen": "Ho", "rejected": "He"}),
        ]
    );
    let rows = read_preferences(&job.output_dir.join(PAIRS), RowRange::default()).unwrap();
    assert_eq!(rows.len(), 3);
}

#[test]
fn other_forms_are_imported_too() {
    let text = [
        json!({"text": [GOOD.1, GOOD.0], "score": [0.0, 1.0]}),
        json!({"text": [GOOD.1, GOOD.0, "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: A word for big?\n\nAssistant: x"], "score": [0.0, 1.0, 1.0]}),
        json!({"prompt": "p", "chosen": "a", "rejected": "b"}),
    ];
    let text: String = text.iter().map(|row| format!("{row}\n")).collect();
    let (_dir, job) = job("data", &text, spec(json!({})));
    run_stage(&job, &|_| {}).unwrap();
    let rows = output(&job, PAIRS);
    assert_eq!(
        (&rows[0]["chosen"], &rows[0]["rejected"]),
        (&json!("Large. "), &json!("No"))
    );
    assert_eq!(rows[1]["scores"], json!([0.0, 1.0, 1.0]));
    assert_eq!(rows[1]["responses"], json!(["No", "Large. ", "x"]));
    assert_eq!(
        rows[2],
        json!({"prompt": [user("p")], "chosen": "a", "rejected": "b"})
    );
}

#[test]
fn repeated_and_identical_rows_are_left_out() {
    let same = (GOOD.0, GOOD.0);
    let text = raw(&[GOOD, same, GOOD]);
    let run = |deduplicate| {
        let (_dir, job) = job("data", &text, spec(json!({"deduplicate": deduplicate})));
        let metrics = run_stage(&job, &|_| {}).unwrap();
        (
            metrics["imported"].clone(),
            metrics["duplicates"].clone(),
            metrics["identical"].clone(),
        )
    };
    assert_eq!(run(true), (json!(1), json!(1), json!(1)));
    assert_eq!(run(false), (json!(2), json!(0), json!(1)));
}

fn bad_rows() -> String {
    let mut rows = vec![GOOD; 8];
    let empty = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: A word for big?\n\nAssistant: ";
    rows[1].0 = "no dialogue";
    (rows[3].1, rows[4].0) = (empty, empty);
    rows[5].1 = "\n\nHuman: Hey\n\nAssistant: Hello!";
    format!("{}{{\"chosen\": 1\n", raw(&rows))
}

#[test]
fn tolerated_bad_rows_are_counted_and_told() {
    let settings = json!({"max_bad_share": 0.6, "deduplicate": false});
    let (dir, job) = job("data", &bad_rows(), spec(settings));
    let events = RefCell::new(Vec::new());
    let metrics = run_stage(&job, &|event| events.borrow_mut().push(event)).unwrap();
    assert_eq!(
        (&metrics["bad"], &metrics["imported"], &metrics["rows"]),
        (&json!(5), &json!(4), &json!(9))
    );
    let [
        Event::Log {
            message: read_as, ..
        },
        Event::Log { message, .. },
    ] = &events.borrow()[..]
    else {
        panic!("two lines of the log: {events:?}");
    };
    assert_eq!(read_as, "read as hh-rlhf (JSON Lines)");
    assert_eq!(metrics["format"], "hh-rlhf");
    insta::assert_snapshot!(message.replace(&format!("{}/", dir.path().display()), ""));
}

#[test]
fn too_many_bad_rows_fail() {
    let cases = [
        (bad_rows(), 0.1),
        (raw(&[("a", "b")]), 1.0),
        (raw(&[(GOOD.0, GOOD.0)]), 0.0),
    ];
    let messages = cases.map(|(content, share)| {
        let (dir, job) = job("data", &content, spec(json!({"max_bad_share": share})));
        shown(&run_stage(&job, &|_| {}).unwrap_err(), dir.path())
    });
    insta::assert_snapshot!(messages.join("\n\n"));
}

/// The published code divides scores by the largest, which turns negative ones
/// round, and keeps the first two responses.
#[test]
fn negative_scores_keep_their_order_and_no_response_is_cut() {
    let dialogue = |reply: &str| format!("\n\nHuman: q\n\nAssistant: {reply}");
    let texts = ["worse", "better", "best"].map(dialogue);
    let rows = [
        json!({"text": texts[..2], "score": [-2.0, -1.0]}),
        json!({"text": texts, "score": [-2.0, -1.0, -0.5]}),
    ];
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let (_dir, job) = job("data", &text, spec(json!({})));
    let metrics = run_stage(&job, &|_| {}).unwrap();
    assert_eq!(
        (&metrics["format"], &metrics["imported"]),
        (&json!("more"), &json!(2))
    );
    let rows = output(&job, PAIRS);
    assert_eq!(
        rows[0],
        json!({"prompt": [user("q")], "chosen": "better", "rejected": "worse"})
    );
    assert_eq!(rows[1]["responses"], json!(["worse", "better", "best"]));
    assert_eq!(rows[1]["scores"], json!([-2.0, -1.0, -0.5]));
}

#[test]
fn what_sound_rows_hold_in_vain_is_counted() {
    let reply = |text: &str, rank: Value| json!({"role": "assistant", "text": text, "rank": rank});
    let tree = |replies: Value| json!({"message_tree_id": "t", "prompt": {"role": "prompter", "text": "q", "lang": "en", "replies": replies}});
    let ranked = json!([
        reply("a", 1.into()),
        reply("b", 0.into()),
        reply("c", Value::Null)
    ]);
    let one = json!([reply("a", 0.into())]);
    let text = format!("{}\n{}\n", tree(ranked), tree(one.clone()));
    let (_dir, job) = job(
        "data",
        &text,
        spec(json!({"format": "oasst", "language": "en"})),
    );
    // Their replies have no language, so nothing is left.
    let error = run_stage(&job, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("4 messages in other languages"), "{error}");
    let (_dir, job) = super::job("data", &text, spec(json!({})));
    let metrics = run_stage(&job, &|_| {}).unwrap();
    assert_eq!(
        (&metrics["rows"], &metrics["imported"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        metrics["dropped"],
        json!({"unranked_replies": 1, "prompts_with_fewer_than_two_ranked_replies": 1})
    );
    assert_eq!(output(&job, PAIRS)[0]["chosen"], "b");
}
