use moreline_protocol::rows::Message;

use super::*;

fn preferences(text: &str) -> Vec<PreferenceRow> {
    let (_dir, path) = file_of("p.json", text);
    read_preferences(&path, all()).unwrap()
}

fn assistant(content: &str) -> Message {
    Message {
        role: "assistant".into(),
        content: content.into(),
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_published_form_keeps_texts_and_scores() {
    let rows = preferences(
        "[{\"text\": [\"\\n\\nHuman: a\", \"b\", \"c\"], \"score\": [1, 0.5, -2]},\n\
         {\"texts\": [\"a\", \"b\"], \"scores\": [3, 3], \"source\": \"x\"}]",
    );
    let texts = PreferenceBody::Texts(strings(&["\n\nHuman: a", "b", "c"]));
    assert_eq!((rows[0].line, &rows[0].body), (1, &texts));
    assert_eq!(rows[0].scores, [1.0, 0.5, -2.0]);
    assert!(rows[0].is_decided() && !rows[1].is_decided());
}

#[test]
fn every_form_with_a_prompt_gives_replies() {
    let rows = preferences(
        r#"{"prompt": "q", "chosen": "good", "rejected": "bad"}
           {"prompt": [{"role": "user", "content": "q"}], "responses": ["good", "bad"], "scores": [1, 0]}
           {"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}], "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}]}
           {"prompt": "q", "chosen": [{"role": "assistant", "content": "good"}], "rejected": [{"role": "assistant", "content": "bad"}]}"#,
    );
    let body = PreferenceBody::Replies {
        prompt: vec![Message::user("q")],
        responses: strings(&["good", "bad"]),
    };
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!((&row.body, &row.scores[..]), (&body, &[1.0, 0.0][..]));
    }
}

#[test]
fn chosen_and_rejected_alone_are_full_texts() {
    let rows = preferences(r#"{"chosen": "q good", "rejected": "q bad"}"#);
    let texts = PreferenceBody::Texts(strings(&["q good", "q bad"]));
    assert_eq!(rows[0].body, texts);
}

#[test]
fn prompts_have_optional_answers() {
    let (_dir, path) = file_of(
        "p.jsonl",
        r#""plain"
           {"query": "plain"}
           {"prompt": "plain", "answer": null}
           {"prompt": "plain", "answer": "yes"}
           {"prompt": [{"role": "user", "content": "plain"}], "completion": "yes"}
           {"messages": [{"role": "user", "content": "plain"}]}
           {"messages": [{"role": "user", "content": "plain"}, {"role": "assistant", "content": "yes"}]}
           {"prompt": "plain", "answer": ""}"#,
    );
    let rows = read_prompts(&path, all()).unwrap();
    assert!(
        rows.iter()
            .all(|row| row.prompt == [Message::user("plain")])
    );
    let answers: Vec<_> = rows.iter().map(|row| row.answer.as_deref()).collect();
    let (no, yes) = (None, Some("yes"));
    assert_eq!(answers, [no, no, no, yes, yes, no, yes, Some("")]);
}

#[test]
fn examples_are_prompts_with_answers() {
    let (_dir, path) = file_of(
        "e.jsonl",
        r#"{"prompt": [{"role": "user", "content": "q"}], "response": "r", "score": 0.5}
           {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]}"#,
    );
    let rows = read_examples(&path, all()).unwrap();
    assert_eq!(rows[0].prompt, [Message::user("q")]);
    assert_eq!((rows[0].score, rows[1].score), (Some(0.5), None));
    assert_eq!(rows[1].prompt.len(), 2);
    assert!(rows.iter().all(|row| row.response == "r"));
    assert!(!rows[1].prompt.contains(&assistant("r")));
}

#[test]
fn responses_are_read_as_written() {
    let row = ResponseRow {
        id: 3,
        prompt: vec![Message::user("q")],
        responses: vec![moreline_protocol::rows::Response {
            text: "r".into(),
            tokens: 2,
            finish: moreline_protocol::rows::Finish::Length,
            logprob: Some(-1.25),
            score: None,
        }],
        reference: None,
    };
    let (_dir, path) = file_of("r.jsonl", serde_json::to_string(&row).unwrap());
    assert_eq!(read_responses(&path, all()).unwrap(), [row]);
}
