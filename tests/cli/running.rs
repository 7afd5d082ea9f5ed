use serde_json::Value;

use super::fixture::{FILTERS, Toy};

fn states(summary: &Value) -> Vec<String> {
    let stages = summary["stages"].as_array().expect("stages");
    stages
        .iter()
        .map(|s| {
            format!(
                "{}={}",
                s["name"].as_str().unwrap(),
                s["state"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn a_run_from_nothing_and_again() {
    let toy = Toy::new();
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("first_run", toy.run(&["run", "toy.toml"]).snapshot());
        insta::assert_snapshot!("second_run", toy.run(&["run", "toy.toml"]).snapshot());
    });
    for name in ["report.html", "report.md", "results.json"] {
        assert!(toy.path("outputs/toy").join(name).is_file(), "{name}");
    }
}

#[test]
fn the_summary_is_one_json_object() {
    let toy = Toy::new();
    let (summary, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 0);
    let stage = &summary["stages"][0];
    for field in ["name", "kind", "state", "key", "seconds", "metrics"] {
        assert!(!stage[field].is_null(), "{field}: {stage}");
    }
    assert!(states(&summary).iter().all(|state| state.ends_with("=ran")));
    let (summary, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 0);
    assert!(
        states(&summary)
            .iter()
            .all(|state| state.ends_with("=cached"))
    );
}

#[test]
fn an_untouched_report_is_not_written_again() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml"]);
    let report = toy.path("outputs/toy/report.html");
    toy.write("outputs/toy/report.html", "mine");
    toy.run(&["run", "toy.toml"]);
    assert_eq!(std::fs::read_to_string(&report).unwrap(), "mine");
    toy.run(&["run", "toy.toml", "--set", "stage.rm.lr=2e-5"]);
    assert_ne!(std::fs::read_to_string(&report).unwrap(), "mine");
}

#[test]
fn a_failed_stage_takes_down_what_depends_on_it() {
    let toy = Toy::new();
    toy.order("fail.rm:more");
    let said = toy.run(&["run", "toy.toml"]);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!(said.snapshot());
    });
    toy.revoke("fail.rm:more");
    let (summary, code) = toy.json(&["run", "toy.toml", "--json"]);
    assert_eq!(code, 0);
    assert!(states(&summary).contains(&"rm:uniform=cached".to_owned()));
    assert!(states(&summary).contains(&"rm:more=ran".to_owned()));
}

#[test]
fn a_killed_worker_is_told_with_its_signal_and_the_way_on() {
    let toy = Toy::new();
    toy.order("kill.rm:more");
    let said = toy.run(&["run", "toy.toml", "--only", "rm"]);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!(said.snapshot());
    });
    let log = said.err.split("its log is DIR/").nth(1).expect("a path");
    let log = log.split(';').next().expect("a path");
    let text = std::fs::read_to_string(toy.path(log)).expect("the log");
    assert!(text.contains("the last words"), "{text}");
    toy.revoke("kill.rm:more");
    let (summary, code) = toy.json(&["run", "toy.toml", "--json", "--only", "rm"]);
    assert_eq!(code, 0);
    assert_eq!(states(&summary), ["rm:uniform=cached", "rm:more=ran"]);
}

#[test]
fn only_what_is_asked_for_runs() {
    let toy = Toy::new();
    let (summary, _) = toy.json(&["run", "toy.toml", "--json", "--only", "eval:more"]);
    assert_eq!(states(&summary), ["rm:more=ran", "eval:more=ran"]);
    let (summary, _) = toy.json(&["run", "toy.toml", "--json", "--only", "eval", "-j", "1"]);
    assert_eq!(
        states(&summary),
        [
            "rm:uniform=ran",
            "rm:more=cached",
            "eval:uniform=ran",
            "eval:more=cached"
        ]
    );
}

#[test]
fn a_rehearsal_has_keys_and_outputs_of_its_own() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml", "--smoke"]);
    assert!(toy.path("outputs/toy.smoke/report.html").is_file());
    assert!(!toy.path("outputs/toy").exists());
    let (plan, _) = toy.json(&["plan", "toy.toml", "--json"]);
    assert_eq!(plan["stages"][0]["state"], "run");
}

#[test]
fn warnings_are_seen_and_quiet_is_quiet() {
    let toy = Toy::new();
    toy.order("warn.sample");
    let said = toy.run(&["run", "toy.toml", "--quiet"]);
    assert_eq!(said.code, 0);
    assert_eq!(said.out, "");
    assert_eq!(said.err, "sample: warning: half of the rows are tied\n");
}

#[test]
fn a_forced_stage_runs_and_the_same_bytes_cut_off_what_follows() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml"]);
    let (summary, code) = toy.json(&["run", "toy.toml", "--json", "--force", "sample"]);
    assert_eq!(code, 0);
    let states = states(&summary);
    assert!(states.contains(&"sample=ran".to_owned()), "{states:?}");
    assert!(states.contains(&"scored=cut-off".to_owned()), "{states:?}");
    let said = toy.run(&["run", "toy.toml", "--only", "eval", "--force", "verdict"]);
    assert_eq!(said.code, 2, "{}", said.err);
}

#[test]
fn a_run_that_fails_fast_starts_nothing_more() {
    let toy = Toy::new();
    toy.order("fail.rm:uniform");
    let (summary, code) = toy.json(&["run", "toy.toml", "--json", "-j", "1", "--fail-fast"]);
    assert_eq!(code, 1);
    let states = states(&summary);
    assert!(
        !states.iter().any(|state| state.ends_with("=ran")),
        "{states:?}"
    );
}
