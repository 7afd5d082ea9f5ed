//! What is kept of runs, and the logs of their stages.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use super::fixture::{FILTERS, Toy, wait_for};

/// The ids of all runs, newest first.
fn ids(toy: &Toy) -> Vec<String> {
    let (list, _) = toy.json(&["runs", "list", "--json"]);
    let runs = list["runs"].as_array().expect("runs");
    let ids = runs.iter().map(|run| run["id"].as_str().expect("an id"));
    ids.map(str::to_owned).collect()
}

/// Gives a run an id that sorts before all others of these tests.
fn rename(toy: &Toy, from: &str, to: &str) {
    let runs = toy.path("cache/runs");
    fs::rename(runs.join(from), runs.join(to)).expect("a run");
    let file = runs.join(to).join("run.json");
    let text = fs::read_to_string(&file).expect("a record");
    fs::write(file, text.replace(from, to)).expect("a record");
}

#[test]
fn runs_are_listed_shown_and_removed() {
    let toy = Toy::new();
    assert_eq!(toy.run(&["runs", "list"]).out, "");
    let none = toy.run(&["runs", "show", "latest"]);
    assert_eq!(none.code, 2, "{}", none.err);
    toy.order("fail.rm:more");
    toy.run(&["run", "toy.toml"]);
    rename(&toy, &ids(&toy)[0], "20200101T000000-00000a");
    toy.revoke("fail.rm:more");
    toy.run(&["run", "toy.toml"]);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("runs_list", toy.run(&["runs", "list"]).snapshot());
        insta::assert_snapshot!("runs_show", toy.run(&["runs", "show", "latest", "toy.toml"]).snapshot());
        insta::assert_snapshot!("runs_show_failed", toy.run(&["runs", "show", "2020"]).snapshot());
        insta::assert_snapshot!("runs_unknown", toy.run(&["runs", "show", "20200102"]).snapshot());
    });
    let (shown, _) = toy.json(&["runs", "show", "latest", "--json"]);
    assert_eq!(shown["state"], "complete");
    assert_eq!(shown["stages"][1]["timings"]["total"], 0.5);
    let logs = shown["records"]["logs"].as_str().unwrap();
    assert!(
        toy.path(logs.strip_prefix("DIR/").unwrap()).is_dir(),
        "{logs}"
    );
    let (removed, code) = toy.json(&["runs", "rm", "2020", "toy.toml", "--json"]);
    assert_eq!(
        (code, &removed["removed"][0]),
        (0, &"20200101T000000-00000a".into())
    );
    assert_eq!(ids(&toy).len(), 1);
    assert_eq!(toy.run(&["plan", "toy.toml", "--exit-code"]).code, 0);
}

#[test]
fn a_damaged_record_is_passed_over_with_a_note() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml", "--only", "sample"]);
    let bad = toy.path("cache/runs/20200101T000000-00000a");
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("run.json"), "{\"run\": \"\x1b[2J").unwrap();
    let said = toy.run(&["runs", "list"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 1));
    let note = "passed over run 20200101T000000-00000a: run.json is damaged";
    assert!(said.err.starts_with(note), "{}", said.err);
    let (list, _) = toy.json(&["runs", "list", "--json"]);
    assert_eq!(list["unreadable"][0]["run"], "20200101T000000-00000a");
    assert_eq!(toy.run(&["runs", "rm", "2020"]).code, 0);
    assert!(!bad.exists());
}

#[test]
fn the_log_is_that_of_the_run_that_computed_the_stage() {
    let toy = Toy::new();
    let said = toy.run(&["logs", "toy.toml", "rm:more"]);
    assert!(said.err.contains("no run computed it yet"), "{}", said.err);
    toy.order("say.rm:more");
    toy.order("warn.sample");
    let (first, _) = toy.json(&["run", "toy.toml", "--json"]);
    let first = first["run_id"].as_str().expect("an id");
    toy.run(&["run", "toy.toml"]);
    let said = toy.run(&["logs", "toy.toml", "sample"]);
    assert_eq!(said.out, "half of the rows are tied\n");
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("logs", toy.run(&["logs", "toy.toml", "rm:more"]).snapshot());
    });
    for arguments in [
        &["logs", "toy.toml", "rm:more", "--json"][..],
        &["logs", "toy.toml", "rm:more", "--json", "--run", "latest"][..],
    ] {
        let (log, _) = toy.json(arguments);
        assert_eq!(log["run"], first, "{arguments:?}");
        assert_eq!(log["text"], "a word\nand another\n");
    }
    toy.run(&["runs", "rm", first]);
    let said = toy.run(&["logs", "toy.toml", "rm:more"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("whose record is gone"), "{}", said.err);
}

#[test]
fn a_failed_stage_says_why_below_its_log() {
    let toy = Toy::new();
    toy.order("say.rm:more");
    toy.order("fail.rm:more");
    toy.run(&["run", "toy.toml"]);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("logs_failed", toy.run(&["logs", "toy.toml", "rm:more"]).snapshot());
        insta::assert_snapshot!("logs_skipped", toy.run(&["logs", "toy.toml", "eval:more", "--run", "latest"]).snapshot());
    });
}

#[test]
fn a_log_is_followed_until_the_stage_is_over() {
    let toy = Toy::new();
    toy.order("say.sample");
    toy.order("wait.sample");
    let run = toy
        .command(&["run", "toy.toml", "--only", "sample"])
        .spawn();
    let mut run = run.expect("the program");
    wait_for(&toy.path("control/waits.sample"));
    let mut command = toy.command(&["logs", "toy.toml", "sample", "--follow"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut follower = command.spawn().expect("the program");
    let mut printed = follower.stdout.take().expect("its output");
    let mut first = [0; 7];
    printed.read_exact(&mut first).expect("a line");
    assert_eq!(&first, b"a word\n");
    let (list, _) = toy.json(&["runs", "list", "--json"]);
    assert_eq!(list["runs"][0]["state"], "running");
    let (shown, _) = toy.json(&["runs", "show", "latest", "--json"]);
    assert_eq!(shown["stages"][0]["state"], "running");
    let (diff, _) = toy.json(&["diff", "latest", "toy.toml", "--json"]);
    assert_eq!(
        (&diff["same"], &diff["a"]["run"]["state"]),
        (&true.into(), &"running".into())
    );
    let refused = toy.run(&["runs", "rm", "latest"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("still goes on"), "{}", refused.err);
    toy.revoke("wait.sample");
    let mut rest = String::new();
    printed.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "and another\nthe wait is over\n");
    assert!(follower.wait().expect("an end").success());
    assert!(run.wait().expect("an end").success());
}

#[test]
fn a_killed_run_is_told_from_a_running_one() {
    let toy = Toy::new();
    toy.order("wait.sample");
    let run = toy
        .command(&["run", "toy.toml", "--only", "sample"])
        .spawn();
    let mut run = run.expect("the program");
    wait_for(&toy.path("control/waits.sample"));
    run.kill().expect("a signal");
    run.wait().expect("an end");
    let (shown, _) = toy.json(&["runs", "show", "latest", "--json"]);
    assert_eq!(
        (&shown["state"], &shown["stages"][0]["state"]),
        (&"killed".into(), &"killed".into())
    );
    let said = toy.run(&["logs", "toy.toml", "sample", "--follow"]);
    assert_eq!(said.code, 0);
    assert!(said.err.ends_with("sample: killed\n"), "{}", said.err);
    toy.revoke("wait.sample");
    assert_eq!(toy.run(&["runs", "rm", "latest"]).code, 0);
}
