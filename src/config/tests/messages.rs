//! Every message as a user sees it; those of trainings are in `training`.

use insta::assert_snapshot;

use super::{BASE, Files, errors, stage};
use crate::config::load_site;

message!(
    unknown_key,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
epoch = 2
"#
);

message!(
    unknown_table,
    r#"[stages.rm]
kind = "train-reward"
"#
);

message!(
    wrong_types,
    r#"[stage.rm]
kind = "train-reward"
model = 3
data = { a = 1 }
lr = "1e-5"
batch = 1.5
schedule = true
betas = [0.9]
eps = inf
"#
);

message!(
    out_of_range,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
lr = -1
epochs = 0
batch = 0
alpha = 1.5
max_length = 7
seed = -1
weight_groups = 4294967296
betas = [0.9, 1]

[stage.sample]
kind = "generate"
model = "base"
prompts = "ask"
samples = 0
temperature = -0.1
top_p = 0.0
"#
);

message!(
    unknown_choice,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
method = "mroe"
"#
);

message!(
    unknown_kind,
    r#"[stage.rm]
kind = "train_reward"

[stage.other]
model = "base"

[defaults.train]
lr = 1
"#
);

message!(
    missing_settings,
    r#"[stage.rm]
kind = "train-reward"
"#
);

message!(
    missing_stage,
    r#"[stage.eval]
kind = "evaluate-reward"
model = "rm"
data = ["one", "tow"]
"#
);

message!(
    wrong_artifact,
    r#"[stage.sample]
kind = "generate"
model = "base"
prompts = "one"

[stage.scored]
kind = "score"
model = "sample"
responses = "sample"

[stage.eval]
kind = "evaluate-reward"
model = "base"
data = "one"
"#
);

message!(
    cycle,
    r#"[stage.tuned]
kind = "sft"
model = "base"
data = "best"

[stage.sample]
kind = "generate"
model = "tuned"
prompts = "ask"

[stage.scored]
kind = "score"
model = "rm"
responses = "sample"

[stage.best]
kind = "select"
responses = "scored"

[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
"#
);

message!(
    duplicate_names,
    r#"[stage.one]
kind = "train-reward"
model = "base"
data = "two"
"#
);

message!(
    duplicate_keys,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
lr = 1e-5
lr = 2e-5
epoch = 1
"#
);

message!(
    broken_syntax,
    r#"[stage.rm]
kind = "train-reward
model = "base"
"#
);

message!(
    no_data,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = []
"#
);

message!(
    one_set_for_more,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
method = "more"

[stage.twice]
kind = "train-reward"
model = "base"
data = ["one", "one"]
"#
);

message!(
    judges,
    r#"[stage.sample]
kind = "generate"
model = "base"
prompts = "ask"

[stage.none]
kind = "judge"
a = "sample"
b = "sample"

[stage.half]
kind = "judge"
a = "sample"
b = "sample"
endpoint = "here"

[stage.both]
kind = "judge"
a = "sample"
b = "sample"
model = "rm"
judge_model = "big"

[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
"#
);

message!(
    selection,
    r#"[stage.sample]
kind = "generate"
model = "base"
prompts = "ask"

[stage.scored]
kind = "score"
model = "rm"
responses = "sample"

[stage.above]
kind = "select"
responses = "scored"
strategy = "threshold"

[stage.best]
kind = "select"
responses = "scored"
k = 3

[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
"#
);

message!(
    names,
    r#"[stage."a b"]
kind = "generate"
model = "base"
prompts = "ask"

[model.hub]
source = "hf:model"

[data.empty]
path = ""
limt = 3
"#
);

message!(
    variables,
    r#"[vars]
data = "sets"
loop = "${vars.pool}"
pool = "${vars.loop}"
list = ["a"]

[data.three]
path = "${vars.dta}/three.json"

[data.four]
path = "${vars.loop}"

[data.five]
path = "${env.HOME}/five.json"

[data.six]
path = "${vars.data"

[data.seven]
path = "x/${vars.list}"
"#
);

message!(
    matrix,
    r#"[matrix]
method = ["uniform", "more"]
seed = 3
size = ["a/b"]
twice = [1, 1]

[data.three]
path = "${matrix.method}.json"

[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
method = "${matrix.metod}"
"#
);

message!(
    missing_cell,
    r#"[matrix]
method = ["uniform", "more"]

[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
method = "${matrix.method}"

[stage.eval]
kind = "evaluate-reward"
model = "rm:mor"
data = "one"
"#
);

#[test]
fn an_error_in_a_cell_is_told_once() {
    let text = stage(
        r#"[matrix]
seed = [1, 2, 3]

[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
seed = "${matrix.seed}"
batch = 0
"#,
    );
    assert_eq!(text.matches("`batch` must be at least 1").count(), 1);
    assert!(text.ends_with("1 error in a.toml\n"), "{text}");
}

#[test]
fn an_error_in_the_base_file() {
    let files = Files::new(&[
        (
            "a.toml",
            "extends = \"base.toml\"\n[stage.one]\nkind = \"score\"\n",
        ),
        ("base.toml", BASE),
    ]);
    assert_snapshot!(files.errors(&[]));
}

#[test]
fn files_in_a_circle() {
    let files = Files::new(&[
        ("a.toml", "extends = \"b.toml\"\n"),
        ("b.toml", "title = \"b\"\nextends = \"a.toml\"\n"),
    ]);
    assert_snapshot!(files.errors(&[]));
}

#[test]
fn missing_files() {
    let files = Files::new(&[("b.toml", "")]);
    assert_snapshot!(files.errors(&[]));
    let files = Files::new(&[("a.toml", "extends = \"c.toml\"\n")]);
    assert_snapshot!(files.errors(&[]));
}

#[test]
fn an_empty_file() {
    assert_snapshot!(errors(""));
}

#[test]
fn overrides() {
    let text =
        format!("[stage.rm]\nkind = \"train-reward\"\nmodel = \"base\"\ndata = \"one\"\n{BASE}");
    let files = Files::new(&[("a.toml", &text)]);
    assert_snapshot!(files.errors(&[
        ("stage.rn.lr", "1e-5"),
        ("stage.rm", "1"),
        ("satge.rm.lr", "1"),
        ("vars.dta", "/x"),
        ("stage.rm.lr", "fast"),
        ("stage.rm.epoch", "1"),
        ("title", "2024"),
    ]));
}

#[test]
fn too_deep_and_too_large() {
    let deep = format!("x = {}1{}\n", "[".repeat(30), "]".repeat(30));
    assert!(errors(&deep).contains("nested deeper than 16 levels"));
    let very_deep = format!("x = {}1{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(errors(&very_deep).contains("error"));
    let large = "#".repeat((8 << 20) + 1);
    assert_snapshot!(errors(&large));
    let wide = format!(
        "[matrix]\n{}{}",
        (0..8)
            .map(|i| { format!("a{i} = [0, 1, 2, 3]\n") })
            .collect::<String>(),
        r#"[stage.sample]
kind = "generate"
model = "base"
prompts = "ask"
stop = ["${matrix.a0}${matrix.a1}${matrix.a2}${matrix.a3}${matrix.a4}${matrix.a5}${matrix.a6}${matrix.a7}"]
"#
    );
    assert_snapshot!("too_many_stages", stage(&wide));
}

#[test]
fn a_wrong_site_file() {
    let files = Files::new(&[
        ("a.toml", ""),
        (
            "moreline.toml",
            "device = \"cpu\"\nthreads = 0.5\n[endpoint.judge]\ntimeout = 3\n",
        ),
    ]);
    let errors = load_site(&files.path("a.toml"), None, None).expect_err("a wrong file");
    assert_snapshot!(files.shown(&errors));
}
