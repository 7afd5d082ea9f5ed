//! What a script reads: one JSON object, whatever happens.

use super::fixture::{FILTERS, Toy};

const KEYS: [&str; 3] = ["plan", "status", "run"];

#[test]
fn a_wrong_file_is_an_object_with_an_error() {
    let toy = Toy::new();
    let text = include_str!("toy.toml")
        .replace("samples = 2", "sampels = 2")
        .replace("a = \"answers\"", "a = \"answer\"");
    toy.write("toy.toml", &text);
    for command in KEYS {
        let (object, code) = toy.json(&[command, "toy.toml", "--json"]);
        assert_eq!((code, &object["exit_code"]), (2, &2.into()));
        if command == "run" {
            let shown = serde_json::to_string_pretty(&object).unwrap();
            insta::assert_snapshot!("a_wrong_file", shown);
        }
    }
    let (object, _) = toy.json(&["show", "toy.toml", "rm:more", "--json"]);
    assert_eq!(object["error"]["problems"][0]["line"], 33);
    let (object, _) = toy.json(&["cache", "size", "toy.toml", "--json"]);
    assert_eq!(object["error"]["message"], "2 errors in toy.toml");
}

#[test]
fn wrong_inputs_are_an_object_with_an_error() {
    let toy = Toy::new();
    toy.write("helpful.jsonl", "{\"text\":[\"a\"],\"score\":[1]}\n");
    std::fs::remove_file(toy.path("prompts.jsonl")).unwrap();
    let said = toy.run(&["run", "toy.toml", "--json"]);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("wrong_inputs", said.snapshot());
    });
}

#[test]
fn a_wrong_command_line_and_a_missing_stage_too() {
    let toy = Toy::new();
    for arguments in [
        &["run", "toy.toml", "--json", "--jobs", "none"][..],
        &["run", "toy.toml", "--json", "--only", "nothing"][..],
        &["show", "toy.toml", "rm", "--json"][..],
        &["show", "toy.toml", "nothing", "--json"][..],
        &["status", "nowhere.toml", "--json"][..],
    ] {
        let (object, code) = toy.json(arguments);
        assert_eq!(code, 2, "{arguments:?}");
        let message = object["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_leaves_one_object() {
    let toy = Toy::new();
    toy.write("outputs", "in the way");
    let (summary, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 3);
    let stages = summary["stages"].as_array().unwrap();
    assert!(stages.iter().all(|stage| stage["state"] == "ran"));
}

#[test]
fn standard_output_is_only_the_object() {
    let toy = Toy::new();
    toy.order("warn.sample");
    toy.order("fail.rm:more");
    let (summary, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 1);
    let stages = summary["stages"].as_array().unwrap();
    let failed = stages.iter().find(|stage| stage["name"] == "rm:more");
    assert_eq!(failed.unwrap()["error"]["hint"], "mend it");
}
