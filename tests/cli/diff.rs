//! What differs between files and runs.

use super::fixture::{FILTERS, Toy};

/// An experiment with a stage renamed, one less, one more, and another setting,
/// written in another order.
fn other_file(toy: &Toy) {
    let text = include_str!("toy.toml")
        .replace("title = \"A toy\"", "title = \"A toy\" # the other")
        .replace("samples = 2", "seed = 3   # another\nsamples   =   2")
        .replace("[stage.answers]", "[stage.replies]")
        .replace("a = \"answers\"", "a = \"replies\"")
        .replace(
            "[stage.best]\nkind = \"select\"\nresponses = \"scored\"\n",
            "",
        )
        .replace(
            "[stage.scored]",
            "[stage.best]\nresponses = \"scored\"\nkind = \"select\"\n\n[stage.ppl]\n\
             kind = \"perplexity\"\nmodel = \"tuned\"\ndata = \"best\"\n\n[stage.scored]",
        )
        .replace(
            "method = [\"uniform\", \"more\"]",
            "method = [\"more\", \"uniform\"]",
        );
    toy.write("other.toml", &text);
}

#[test]
fn a_file_is_compared_with_its_last_run() {
    let toy = Toy::new();
    let none = toy.run(&["diff", "toy.toml"]);
    assert_eq!(none.code, 2);
    toy.run(&["run", "toy.toml"]);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("diff_nothing", toy.run(&["diff", "toy.toml", "--exit-code"]).snapshot());
    });
    let text =
        include_str!("toy.toml").replace("method = \"${matrix", "lr = 2e-5\nmethod = \"${matrix");
    toy.write("toy.toml", &text);
    let pair = r#"{"prompt":"Say hello.","chosen":"Hello.","rejected":"No."}"#;
    let more = r#"{"prompt":"Say bye.","chosen":"Bye.","rejected":"No."}"#;
    toy.write("helpful.jsonl", &format!("{more}\n{pair}\n{more}\n"));
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("diff_changed", toy.run(&["diff", "toy.toml", "--exit-code"]).snapshot());
        insta::assert_snapshot!("diff_changed_markdown", toy.run(&["diff", "latest", "toy.toml", "--markdown"]).snapshot());
    });
    let (diff, code) = toy.json(&["diff", "toy.toml", "--json"]);
    assert_eq!((code, &diff["same"]), (0, &false.into()));
    let data = &diff["data"][0];
    assert_eq!(
        (&data["name"], &data["kind"]),
        (&"helpful".into(), &"data".into())
    );
    assert_eq!(
        (&data["rows"]["common"], &data["rows"]["added"]["rows"]),
        (&1.into(), &2.into())
    );
    assert_eq!(
        data["rows"]["added"]["digests"][0],
        data["rows"]["added"]["digests"][1]
    );
}

#[test]
fn what_only_follows_from_a_change_is_not_told_as_one() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml", "--only", "eval:more"]);
    let lr = ["--set", "stage.rm.lr=2e-5"];
    let said = toy.run(&[&["diff", "toy.toml"][..], &lr].concat());
    assert!(
        said.out.contains("rm:more     lr     1e-5  2e-5"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("model rm:more"), "{}", said.out);
    let (diff, _) = toy.json(&[&["diff", "toy.toml", "--json"][..], &lr].concat());
    let stages = diff["stages"].as_array().unwrap();
    let eval = stages
        .iter()
        .find(|stage| stage["name"] == "eval:more")
        .unwrap();
    assert_eq!(eval["changes"][0]["role"], "model");
}

#[test]
fn rows_written_otherwise_are_the_same_rows() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml", "--only", "rm"]);
    toy.write(
        "helpful.jsonl",
        "[{ \"rejected\": \"No.\", \"chosen\": \"Hello.\", \"prompt\": \"Say hello.\" }]\n",
    );
    let said = toy.run(&["diff", "toy.toml"]);
    assert!(
        said.out.contains("the same rows, in another order"),
        "{}",
        said.out
    );
    std::fs::remove_dir_all(toy.path("cache/rows")).unwrap();
    let said = toy.run(&["diff", "toy.toml"]);
    assert!(said.out.contains("are not kept"), "{}", said.out);
}

#[test]
fn renamed_stages_are_known_by_their_content() {
    let toy = Toy::new();
    other_file(&toy);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("diff_files", toy.run(&["diff", "toy.toml", "other.toml"]).snapshot());
    });
    toy.run(&["run", "toy.toml"]);
    toy.run(&["run", "other.toml", "--set", "stage.sample.seed=0"]);
    let (diff, _) = toy.json(&[
        "diff",
        "toy.toml",
        "other.toml",
        "--set",
        "stage.sample.seed=0",
        "--json",
    ]);
    let stages = diff["stages"].as_array().unwrap();
    let renamed = stages
        .iter()
        .find(|stage| stage["name"] == "replies")
        .unwrap();
    assert_eq!(
        (&renamed["found"], &renamed["was"]),
        (&"key".into(), &"answers".into())
    );
    assert_eq!(renamed["outcome"]["state"], "cached");
}

#[test]
fn figures_have_intervals_where_the_records_are_the_same() {
    let toy = Toy::new();
    let run = ["run", "toy.toml", "--only", "eval:more"];
    toy.run(&run);
    toy.order("worse.eval:more");
    toy.run(&[&run[..], &["--set", "stage.eval.seed=7"]].concat());
    let (list, _) = toy.json(&["runs", "list", "--json"]);
    // Two runs in one second sort by the random ends of their ids.
    let runs = list["runs"].as_array().unwrap();
    let mut ids: Vec<&str> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
    let (first, _) = toy.json(&[
        "metrics",
        "toy.toml",
        "--run",
        ids[0],
        "--columns",
        "mean.accuracy",
        "--json",
    ]);
    if first["rows"][0]["metrics"]["mean.accuracy"] != 1.0 {
        ids.reverse();
    }
    let (diff, _) = toy.json(&["diff", ids[0], ids[1], "--json"]);
    let stages = diff["stages"].as_array().unwrap();
    let eval = stages
        .iter()
        .find(|stage| stage["name"] == "eval:more")
        .unwrap();
    let figures = eval["figures"].as_array().unwrap();
    let accuracy = figures
        .iter()
        .find(|figure| figure["name"] == "sets.helpful.accuracy");
    let accuracy = accuracy.unwrap();
    assert_eq!(
        (&accuracy["difference"], &accuracy["interval"]["upper"]),
        (&(-1.0).into(), &(-1.0).into())
    );
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("diff_runs", toy.run(&["diff", ids[0], ids[1]]).snapshot());
    });
    assert_eq!(toy.run(&["diff", ids[0], ids[0], "--exit-code"]).code, 0);
    assert_eq!(toy.run(&["diff", ids[0], ids[1], "--exit-code"]).code, 1);
    assert_eq!(toy.run(&["diff", "2019", ids[1]]).code, 2);
    assert_eq!(toy.run(&["diff", "nothing.toml", ids[1]]).code, 2);
}

#[test]
fn a_damaged_snapshot_is_an_error_that_names_the_run() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml", "--only", "sample"]);
    let runs = toy.path("cache/runs");
    let run = std::fs::read_dir(&runs)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::write(
        run.join("resolved.json"),
        "{\"experiment\": {\"stages\": [{",
    )
    .unwrap();
    let said = toy.run(&["diff", "toy.toml"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("resolved.json is damaged"),
        "{}",
        said.err
    );
}
