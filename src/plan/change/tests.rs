use serde_json::json;

use super::*;

fn input(role: &str, name: &str, bytes: Option<&[u8]>) -> InputVersion {
    InputVersion {
        role: role.into(),
        name: name.into(),
        digest: bytes.map(Digest::of),
        rows: RowRange::default(),
        named: role == "data",
        stage: None,
    }
}

fn version(spec: Value, inputs: Vec<InputVersion>) -> StageVersion {
    let spec = serde_json::from_value(spec).unwrap();
    StageVersion::present(&spec, inputs)
}

fn train(lr: f64, inputs: Vec<InputVersion>) -> StageVersion {
    version(
        json!({"kind": "train-reward", "model": "m", "data": "d", "lr": lr}),
        inputs,
    )
}

fn sentences(now: &StageVersion, past: &StageVersion) -> Vec<String> {
    now.changes_since(past)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn nothing_changed_is_no_change() {
    let one = train(1e-5, vec![input("data", "a", Some(b"1"))]);
    assert_eq!(one.changes_since(&one), []);
}

#[test]
fn inputs_are_paired_by_name_whatever_their_number() {
    let past = train(
        1e-5,
        vec![
            input("data", "a", Some(b"1")),
            input("data", "b", Some(b"2")),
        ],
    );
    let now = train(
        2e-5,
        vec![
            input("data", "c", Some(b"3")),
            input("data", "a", Some(b"1")),
            input("data", "b", Some(b"4")),
        ],
    );
    assert_eq!(
        sentences(&now, &past),
        [
            "`lr` changed from 1e-5 to 2e-5",
            "data `c` is taken as well",
            "data `b` changed"
        ]
    );
    assert_eq!(sentences(&past, &now)[2], "data `c` is not taken any more");
}

#[test]
fn another_order_and_another_name_are_changes() {
    let (a, b) = (
        input("data", "a", Some(b"1")),
        input("data", "b", Some(b"2")),
    );
    let past = train(1e-5, vec![a.clone(), b.clone()]);
    let now = train(1e-5, vec![b.clone(), a.clone()]);
    assert_eq!(sentences(&now, &past), ["data is in another order"]);
    let now = train(1e-5, vec![input("data", "x", Some(b"1")), b]);
    assert_eq!(sentences(&now, &past), ["data is `x` instead of `a`"]);
}

#[test]
fn what_is_not_made_yet_is_said() {
    let past = train(1e-5, vec![input("model", "m", Some(b"1"))]);
    let mut missing = input("model", "m", None);
    let now = train(1e-5, vec![missing.clone()]);
    assert_eq!(sentences(&now, &past), ["model `m` is not there"]);
    missing.stage = Some("m".into());
    let now = train(1e-5, vec![missing]);
    assert_eq!(sentences(&now, &past), ["model `m` is made anew"]);
    assert_eq!(now.changes_since(&past)[0].new_text(), "not made yet");
}

#[test]
fn settings_that_change_no_result_are_marked() {
    let spec = |every: u64| json!({"kind": "train-reward", "model": "m", "data": "d", "checkpoint_every": every});
    let changes = version(spec(5), vec![]).changes_since(&version(spec(9), vec![]));
    assert_eq!(changes.len(), 1);
    assert!(!changes[0].is_keyed());
}
