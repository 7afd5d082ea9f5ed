//! Tables of metrics.

use super::fixture::{FILTERS, Toy};

#[test]
fn metrics_are_a_table_in_four_forms() {
    let toy = Toy::new();
    let none = toy.run(&["metrics", "toy.toml"]);
    assert_eq!(none.code, 2);
    assert!(
        none.err.contains("run the experiment first"),
        "{}",
        none.err
    );
    toy.run(&["run", "toy.toml"]);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("metrics", toy.run(&["metrics", "toy.toml"]).snapshot());
        insta::assert_snapshot!("metrics_csv", toy.run(&["metrics", "toy.toml", "--columns", "accuracy*", "--format", "csv"]).snapshot());
        insta::assert_snapshot!("metrics_markdown", toy.run(&["metrics", "toy.toml", "--columns", "steps", "--format", "markdown"]).snapshot());
        insta::assert_snapshot!("metrics_no_column", toy.run(&["metrics", "toy.toml", "--columns", "acuracy"]).snapshot());
    });
    let (table, code) = toy.json(&["metrics", "toy.toml", "--columns", "ece", "--json"]);
    assert_eq!(code, 0);
    let row = &table["rows"][1];
    assert_eq!(row["stage"], "eval:more");
    assert_eq!(row["cell"]["method"], "more");
    assert_eq!(row["metrics"]["sets.helpful.ece"], 0.1);
}

#[test]
fn metrics_of_runs_have_a_row_for_each_run() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml", "--only", "eval"]);
    toy.run(&[
        "run",
        "toy.toml",
        "--only",
        "eval",
        "--set",
        "stage.rm.lr=2e-5",
    ]);
    let (table, _) = toy.json(&["metrics", "toy.toml", "--runs", "2", "--json"]);
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    assert_ne!(rows[0]["run"], rows[7]["run"]);
    assert_eq!(rows[0]["cell"]["method"], "uniform");
    let id = rows[0]["run"].as_str().unwrap();
    let arguments = [
        "metrics", "toy.toml", "--run", id, "--run", "latest", "--format", "csv",
    ];
    let said = toy.run(&arguments);
    let heading =
        "run,stage,kind,matrix.method,final_loss,mean.accuracy,mean.ece,sets.helpful.accuracy";
    assert_eq!(said.out.lines().next(), Some(heading), "{}", said.err);
}
