//! `include` and `exclude`, as GitHub's workflows have them.

use super::{BASE, Files, parse as load};
use crate::config::source::{Source, Sources};
use crate::config::{Experiment, axes, parse};

fn names(experiment: &Experiment) -> Vec<&str> {
    experiment
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect()
}

/// A training on `matrix`, and its evaluation.
fn experiment(matrix: &str, settings: &str) -> String {
    format!(
        "[matrix]\n{matrix}\n{BASE}\n[stage.rm]\nkind = \"train-reward\"\nmodel = \"base\"\n\
         data = [\"one\", \"two\"]\n{settings}\n\
         [stage.eval]\nkind = \"evaluate-reward\"\nmodel = \"rm\"\ndata = \"one\"\n"
    )
}

const BOTH: &str = "method = \"${matrix.method}\"\nseed = \"${matrix.seed}\"";

#[test]
fn excluded_cells_are_left_out_downstream_too() {
    let text = experiment(
        "method = [\"uniform\", \"more\"]\nseed = [1, 2]\n\
         exclude = [{ method = \"more\", seed = 2 }]",
        BOTH,
    );
    assert_eq!(
        names(&load(&text)),
        [
            "rm:uniform,1",
            "rm:uniform,2",
            "rm:more,1",
            "eval:uniform,1",
            "eval:uniform,2",
            "eval:more,1"
        ]
    );
    // Stages that depend on one variable have its values that are left.
    let one = text.replace("seed = 2 }", "seed = 2 }, { method = \"more\", seed = 1 }");
    let one = one.replace("seed = \"${matrix.seed}\"\n", "");
    assert_eq!(names(&load(&one)), ["rm:uniform", "eval:uniform"]);
}

#[test]
fn a_part_of_the_variables_excludes_all_that_agree() {
    let text = experiment(
        "method = [\"uniform\", \"more\"]\nseed = [1, 2]\nexclude = [{ seed = 2 }]",
        BOTH,
    );
    assert_eq!(names(&load(&text))[..2], ["rm:uniform,1", "rm:more,1"]);
}

#[test]
fn included_values_extend_cells_or_make_new_ones() {
    let text = experiment(
        "method = [\"uniform\", \"more\"]\nseed = [1]\n\
         include = [\n{ lr = 1e-5 },\n{ method = \"more\", lr = 3e-5 },\n\
         { method = \"more\", seed = 7, lr = 3e-5 },\n]",
        "method = \"${matrix.method}\"\nseed = \"${matrix.seed}\"\nlr = \"${matrix.lr}\"",
    );
    let experiment = load(&text);
    assert_eq!(
        names(&experiment)[..3],
        ["rm:uniform,1,1e-5", "rm:more,1,3e-5", "rm:more,7,3e-5"]
    );
    let cell = &experiment.stages[2].cell;
    let cell: Vec<(&str, &str)> = cell.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(cell, [("method", "more"), ("seed", "7"), ("lr", "3e-5")]);
}

/// The example of GitHub's documentation of `include`, and its answer.
#[test]
fn the_published_example_gives_the_published_cells() {
    let text = r#"
[matrix]
fruit = ["apple", "pear"]
animal = ["cat", "dog"]
include = [
    { color = "green" },
    { color = "pink", animal = "cat" },
    { fruit = "apple", shape = "circle" },
    { fruit = "banana" },
    { fruit = "banana", animal = "cat" },
]
"#;
    let mut sources = Sources::default();
    let id = sources.add(Source {
        name: "a.toml".into(),
        text: text.into(),
        directory: "/".into(),
    });
    let mut problems = Vec::new();
    let document = parse::document(&sources, id, &mut problems);
    let matrix = axes::read(&document, &sources, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        matrix.cells(),
        [
            "(fruit = apple, animal = cat, color = pink, shape = circle)",
            "(fruit = apple, animal = dog, color = green, shape = circle)",
            "(fruit = pear, animal = cat, color = pink)",
            "(fruit = pear, animal = dog, color = green)",
            "(fruit = banana)",
            "(fruit = banana, animal = cat)",
        ]
    );
}

#[test]
fn a_matrix_may_consist_of_its_included_cells() {
    let text = experiment(
        "include = [{ method = \"uniform\", seed = 3 }, { method = \"more\", seed = 4 }]",
        BOTH,
    );
    assert_eq!(names(&load(&text))[..2], ["rm:uniform,3", "rm:more,4"]);
}

#[test]
fn set_may_shorten_an_axis_that_is_excluded_from() {
    let text = experiment(
        "method = [\"uniform\", \"more\"]\nseed = [1, 2]\n\
         exclude = [{ method = \"more\", seed = 2 }]",
        BOTH,
    );
    let files = Files::new(&[("a.toml", &text)]);
    let experiment = files
        .load(&[("matrix.method", "[\"uniform\"]")])
        .expect("it is right");
    assert_eq!(names(&experiment)[..2], ["rm:uniform,1", "rm:uniform,2"]);
}

message!(
    wrong_excludes,
    r#"[matrix]
method = ["uniform", "more"]
exclude = [{ metod = "more" }, { method = "mroe" }, {}, 3]
"#
);

message!(
    everything_excluded,
    r#"[matrix]
method = ["uniform", "more"]
exclude = [{ method = "more" }, { method = "uniform" }]
"#
);

message!(
    wrong_includes,
    r#"[matrix]
method = ["uniform", "more"]
include = [{ method = "a/b" }, { "x y" = 1 }, "more"]
"#
);

message!(
    an_incomplete_cell,
    r#"[matrix]
method = ["uniform", "more"]
seed = [1, 2]
include = [{ method = "max" }]

[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
method = "${matrix.method}"
seed = "${matrix.seed}"
"#
);
