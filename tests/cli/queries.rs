use super::fixture::{FILTERS, Toy};

#[test]
fn plan_status_and_show() {
    let toy = Toy::new();
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("plan_of_nothing", toy.run(&["plan", "toy.toml"]).snapshot());
        toy.run(&["run", "toy.toml"]);
        insta::assert_snapshot!("status", toy.run(&["status", "toy.toml"]).snapshot());
        insta::assert_snapshot!("show", toy.run(&["show", "toy.toml", "rm:more"]).snapshot());
        insta::assert_snapshot!("which_cell", toy.run(&["show", "toy.toml", "rm"]).snapshot());
        insta::assert_snapshot!("no_stage", toy.run(&["show", "toy.toml", "rm:mor"]).snapshot());
    });
}

#[test]
fn show_gives_metrics_and_paths_as_json() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml", "--only", "verdict"]);
    let (shown, code) = toy.json(&["show", "toy.toml", "verdict", "--json"]);
    assert_eq!(code, 0);
    assert_eq!(shown["metrics"]["win_rate"], 1.0);
    let path = shown["outputs"]["verdicts.jsonl"].as_str().expect("a path");
    let path = path.replace(
        "DIR",
        &toy.path("").canonicalize().unwrap().display().to_string(),
    );
    assert!(std::path::Path::new(&path).is_file(), "{path}");
    let (shown, _) = toy.json(&["show", "toy.toml", "rm:more", "--json"]);
    assert_eq!(shown["fed"][0]["text"], "<s>Say hello.</s>");
}

#[test]
fn export_and_report_write_where_they_are_told() {
    let toy = Toy::new();
    let said = toy.run(&["export", "toy.toml", "rm:more", "out"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{}", said.err);
    toy.run(&["run", "toy.toml"]);
    let said = toy.run(&["export", "toy.toml", "rm:more", "out"]);
    assert_eq!((said.code, said.out.as_str()), (0, "out/config.json\n"));
    let said = toy.run(&["export", "toy.toml", "rm:more", "out"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("it is not empty"), "{}", said.err);
    let said = toy.run(&["report", "toy.toml", "--out", "page"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(toy.path("page/report.html").is_file());
}

#[test]
fn the_cache_is_looked_after() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml"]);
    let (size, code) = toy.json(&["cache", "size", "--json"]);
    assert_eq!((size["records"].as_u64(), code), (Some(10), 0));
    assert_eq!(toy.run(&["cache", "verify"]).code, 0);
    let said = toy.run(&["cache", "gc", "toy.toml", "--dry-run"]);
    assert_eq!(said.code, 0);
    assert!(
        said.out
            .starts_with("would remove 0 results, 0 objects, 0 checkpoints"),
        "{}",
        said.out
    );
}

#[test]
fn schemas_completions_and_version_are_printed() {
    let toy = Toy::new();
    let (schema, _) = toy.json(&["schema"]);
    assert_eq!(schema, moreline::config::schema());
    let (schema, _) = toy.json(&["schema", "--site"]);
    assert_eq!(schema, moreline::config::site_schema());
    let said = toy.run(&["completions", "bash"]);
    assert!(said.out.contains("_moreline"), "{}", said.err);
    let said = toy.run(&["--version"]);
    assert_eq!(
        said.out,
        format!("moreline {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn explain_follows_a_change_to_where_it_began() {
    let toy = Toy::new();
    let (nothing, code) = toy.json(&["explain", "toy.toml", "eval:more", "--json"]);
    assert_eq!(code, 0);
    assert!(nothing["compared_with"].is_null(), "{nothing}");
    toy.run(&["run", "toy.toml"]);
    let (same, _) = toy.json(&["explain", "toy.toml", "verdict", "--json"]);
    assert_eq!(
        (&same["state"], &same["compared_with"]["found"]),
        (&"cached".into(), &"own".into())
    );
    assert_eq!(same["changes"].as_array().map(Vec::len), Some(0));
    let changed = ["--json", "--set", "stage.rm.lr=2e-5"];
    let (why, _) = toy.json(&[&["explain", "toy.toml", "eval:more"][..], &changed].concat());
    assert_eq!(why["state"], "maybe");
    let cause = &why["causes"][0];
    assert_eq!(
        (&cause["name"], &cause["state"]),
        (&"rm:more".into(), &"run".into())
    );
    assert_eq!(why["roots"][0]["stage"], "rm:more");
    let root = why["roots"][0]["why"].as_str().unwrap();
    assert!(root.starts_with("`lr` changed from "), "{root}");
}

#[test]
fn plans_are_drawn_and_answer_by_exit_code() {
    let toy = Toy::new();
    assert_eq!(toy.run(&["plan", "toy.toml", "--exit-code"]).code, 1);
    toy.run(&["run", "toy.toml"]);
    assert_eq!(toy.run(&["plan", "toy.toml", "--exit-code"]).code, 0);
    let forced = [
        "plan",
        "toy.toml",
        "--exit-code",
        "--force",
        "best",
        "--from",
        "best",
    ];
    let said = toy.run(&forced);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("it is forced to"), "{}", said.out);
    assert!(!said.out.contains("eval:more"), "{}", said.out);
    let said = toy.run(&["plan", "toy.toml", "--graph", "dot"]);
    assert!(said.out.contains("\"scored\" -> \"best\";"), "{}", said.out);
    std::fs::remove_file(toy.path("prompts.jsonl")).unwrap();
    assert_eq!(toy.run(&["plan", "toy.toml", "--exit-code"]).code, 2);
}
