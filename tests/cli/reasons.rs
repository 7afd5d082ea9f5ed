//! How a file is written, and where, is no reason to run again.

use std::fs;

use super::fixture::Toy;

/// What is changed, in the experiment file or the site file, and the stages that
/// run after it. This worker gives the same bytes whatever it is asked for, so
/// that what follows is cut off.
type Change = (&'static str, fn(&Toy), &'static [&'static str]);

const CHANGES: [Change; 16] = [
    ("a comment", comment, &[]),
    ("the order of keys", order_keys, &[]),
    ("the order of tables", order_tables, &[]),
    ("blanks and quotes", blanks, &[]),
    ("an inline table", inline, &[]),
    ("a default spelled out", spell_out, &[]),
    ("the title", |t| edit(t, "A toy", "Another toy"), &[]),
    ("a renamed stage", rename_stage, &[]),
    ("a renamed model", |t| edit(t, "base", "smol"), &[]),
    ("a moved file", move_data, &[]),
    ("what the machine has", machine, &[]),
    ("an endpoint", endpoint, &[]),
    ("another place of the worker", move_worker, &[]),
    ("a report elsewhere", report_elsewhere, &[]),
    ("a parameter", more_samples, &["sample"]),
    ("a row", other_prompts, &["sample", "answers"]),
];

/// Changes every place of the experiment file that reads so.
fn edit(toy: &Toy, from: &str, to: &str) {
    let text = fs::read_to_string(toy.path("toy.toml")).expect("the experiment");
    assert!(text.contains(from), "{from}");
    toy.write("toy.toml", &text.replace(from, to));
}

fn site(toy: &Toy, lines: &str) {
    let text = fs::read_to_string(toy.path("moreline.toml")).expect("the site file");
    toy.write("moreline.toml", &format!("{text}{lines}\n"));
}

fn comment(toy: &Toy) {
    edit(toy, "[stage.rm]", "# Trains.\n[stage.rm] # twice");
}

fn order_keys(toy: &Toy) {
    let (one, other) = ("kind = \"sft\"", "model = \"base\"");
    edit(toy, &format!("{one}\n{other}"), &format!("{other}\n{one}"));
}

fn blanks(toy: &Toy) {
    edit(toy, "kind = \"score\"\n", "kind    =   'score'\n\n");
}

fn inline(toy: &Toy) {
    let (table, inline) = (
        "[prompts.questions]\npath = \"prompts.jsonl\"",
        "[prompts]\nquestions = { path = \"prompts.jsonl\" }",
    );
    edit(toy, table, inline);
}

fn spell_out(toy: &Toy) {
    let kind = "kind = \"select\"";
    edit(toy, kind, &format!("{kind}\ndrop_unfinished = false"));
}

fn rename_stage(toy: &Toy) {
    edit(toy, "stage.sample", "stage.drawn");
    edit(toy, "\"sample\"", "\"drawn\"");
}

fn machine(toy: &Toy) {
    site(
        toy,
        "threads = 2\ntoken_budget = 99\ndevices = [\"cpu\", \"cpu\"]",
    );
}

fn endpoint(toy: &Toy) {
    site(toy, "[endpoint.judge]\nurl = \"http://127.0.0.1:9/v1\"");
}

fn report_elsewhere(toy: &Toy) {
    let said = toy.run(&["report", "toy.toml", "--out", "elsewhere"]);
    assert_eq!(said.code, 0, "{}", said.err);
}

fn more_samples(toy: &Toy) {
    edit(toy, "samples = 2", "samples = 3");
}

fn other_prompts(toy: &Toy) {
    toy.write("prompts.jsonl", "{\"prompt\":\"Say no.\"}\n");
}

/// The tables in the opposite order; what stands above them stays.
fn order_tables(toy: &Toy) {
    let text = fs::read_to_string(toy.path("toy.toml")).expect("the experiment");
    let mut tables: Vec<&str> = text.split("\n\n").collect();
    tables[1..].reverse();
    toy.write("toy.toml", &tables.join("\n\n"));
}

fn move_data(toy: &Toy) {
    fs::create_dir(toy.path("sets")).expect("a directory");
    fs::rename(toy.path("helpful.jsonl"), toy.path("sets/h.jsonl")).expect("a moved file");
    edit(toy, "\"helpful.jsonl\"", "\"sets/h.jsonl\"");
}

fn move_worker(toy: &Toy) {
    fs::rename(toy.path("worker.sh"), toy.path("other.sh")).expect("a moved file");
    let text = fs::read_to_string(toy.path("moreline.toml")).expect("the site file");
    toy.write("moreline.toml", &text.replace("worker.sh", "other.sh"));
}

/// Names of the stages that a run computes.
fn ran(toy: &Toy, what: &str) -> Vec<String> {
    let (summary, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 0, "{what}: {summary:#}");
    let stages = summary["stages"].as_array().expect("stages").iter();
    let ran = stages.filter(|stage| stage["state"] == "ran");
    let name = |stage: &serde_json::Value| stage["name"].as_str().expect("a name").to_owned();
    ran.map(name).collect()
}

#[test]
fn how_a_file_is_written_is_no_reason() {
    let base = Toy::new();
    assert!(!ran(&base, "at first").is_empty());
    let cache = base.path("cache");
    for (what, change, expected) in CHANGES {
        let toy = Toy::new();
        std::os::unix::fs::symlink(&cache, toy.path("cache")).expect("a link");
        assert_eq!(ran(&toy, what), [""; 0], "before {what}");
        change(&toy);
        assert_eq!(ran(&toy, what), expected, "after {what}");
    }
}
