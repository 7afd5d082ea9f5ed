//! `plan`: it answers whatever is missing, and what it calls cached is.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::fixture::{FILTERS, Toy};

#[test]
fn a_plan_without_any_data_says_what_is_missing() {
    let toy = Toy::new();
    for file in ["helpful.jsonl", "prompts.jsonl"] {
        fs::remove_file(toy.path(file)).unwrap();
    }
    insta::with_settings!({filters => FILTERS}, {
        let said = toy.run(&["plan", "toy.toml"]);
        insta::assert_snapshot!("plan_without_data", said.snapshot());
    });
    fs::remove_dir_all(toy.path("model")).unwrap();
    let (plan, code) = toy.json(&["plan", "toy.toml", "--json"]);
    assert_eq!(code, 0);
    for stage in plan["stages"].as_array().unwrap() {
        let (state, why) = (
            stage["state"].as_str().unwrap(),
            stage["why"].as_str().unwrap(),
        );
        assert!(["missing-input", "maybe"].contains(&state), "{stage}");
        assert!(!why.is_empty() && !why.contains('\n'), "{stage}");
        match state {
            "maybe" => assert!(!stage["after"].as_array().unwrap().is_empty(), "{stage}"),
            _ => assert!(!stage["inputs"].as_array().unwrap().is_empty(), "{stage}"),
        }
    }
    for command in ["status", "explain"] {
        let stage = if command == "explain" {
            &["rm:more"][..]
        } else {
            &[]
        };
        let said = toy.run(&[&[command, "toy.toml"], stage].concat());
        assert_eq!(said.code, 0, "{command}: {}", said.err);
    }
}

/// The names of the stages in one of these states.
fn in_state(said: &Value, states: &[&str]) -> BTreeSet<String> {
    let stages = said["stages"].as_array().expect("stages").iter();
    stages
        .filter(|stage| states.contains(&stage["state"].as_str().unwrap()))
        .map(|stage| stage["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Removes one object of the store, in turn.
fn lose(toy: &Toy, which: usize) {
    let mut objects = Vec::new();
    for directory in fs::read_dir(toy.path("cache/objects")).unwrap().flatten() {
        objects.extend(
            fs::read_dir(directory.path())
                .unwrap()
                .flatten()
                .map(|e| e.path()),
        );
    }
    objects.sort();
    fs::remove_file(&objects[which % objects.len()]).unwrap();
}

#[test]
fn a_stage_planned_as_cached_is_never_computed() {
    let toy = Toy::new();
    let pair = r#"{"prompt":"Say hello.","chosen":"Hello.","rejected":"No."}"#;
    let changes: [(&dyn Fn(), &[&str]); 9] = [
        (&|| {}, &[]),
        (&|| {}, &[]),
        (&|| {}, &["--set", "stage.rm.lr=2e-5"]),
        (&|| {}, &["--set", "stage.sample.samples=3"]),
        (
            &|| toy.write("harmless.jsonl", &format!("{pair}\n{pair}\n")),
            &[],
        ),
        (
            &|| toy.write("prompts.jsonl", "{\"prompt\":\"Bye.\"}\n"),
            &["--smoke"],
        ),
        (&|| lose(&toy, 0), &[]),
        (&|| lose(&toy, 7), &[]),
        (&|| lose(&toy, 3), &["--force", "best"]),
    ];
    for (number, (change, options)) in changes.iter().enumerate() {
        change();
        let with = |command| [&[command, "toy.toml", "--json"][..], options].concat();
        let (plan, _) = toy.json(&with("plan"));
        let (run, code) = toy.json(&with("run"));
        assert_eq!(code, 0, "change {number}: {run:#}");
        let cached = in_state(&plan, &["cached"]);
        let computed = in_state(&run, &["ran"]);
        assert!(
            cached.is_disjoint(&computed),
            "change {number}: {cached:?} {computed:?}"
        );
        // Results that share a lost object are whole again once one of them is.
        let planned = in_state(&plan, &["run"]);
        let some = planned.is_empty() || !planned.is_disjoint(&computed);
        assert!(some, "change {number}: {planned:?} {computed:?}");
    }
}

/// The most stages that were computed at once in the only run there was.
fn most_at_once(toy: &Toy) -> usize {
    let runs = fs::read_dir(toy.path("cache/runs")).unwrap().flatten();
    let run = runs.map(|run| run.path()).next().expect("a run");
    let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let (mut now, mut most) = (0usize, 0);
    for event in events.lines() {
        let event: Value = serde_json::from_str(event).unwrap();
        match event["event"].as_str() {
            Some("stage-started") => now += 1,
            Some("stage-finished" | "stage-failed") => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    most
}

#[test]
fn the_site_limits_stages_at_once() {
    let site = "worker = \"worker.sh\"\ncache = \"cache\"\ndevices = [\"cpu\", \"cpu\", \"cpu\"]\n";
    for (jobs, limited) in [("", false), ("jobs = 1\n", true)] {
        let toy = Toy::new();
        toy.write("moreline.toml", &format!("{site}{jobs}"));
        assert_eq!(toy.run(&["run", "toy.toml"]).code, 0);
        assert_eq!(most_at_once(&toy) == 1, limited, "{jobs}");
    }
}
