//! Every message as a user sees it.

use insta::assert_snapshot;

use super::{Files, errors};
use crate::config::load_site;

const BASE: &str = r#"
[model.base]
source = "m.gguf"
[data.one]
path = "one.json"
[data.two]
path = "two.json"
[prompts.ask]
path = "ask.jsonl"
"#;

fn stage(text: &str) -> String {
    errors(&format!("{text}{BASE}"))
}

macro_rules! message {
    ($name:ident, $text:expr) => {
        #[test]
        fn $name() {
            assert_snapshot!(stage($text));
        }
    };
}

message!(
    a_step_that_is_none,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
save_every = 50
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = "rm@50"
"#
);

message!(
    a_step_between_those_given,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
save_every = 50
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = "rm@step-75"
"#
);

message!(
    a_step_after_the_end,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
save_every = 50
steps = 120
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = "rm@step-150"
"#
);

message!(
    a_step_of_a_training_that_gives_none,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = "rm@step-75"
"#
);

message!(
    a_step_of_a_model,
    r#"[stage.rm]
kind = "train-reward"
model = "base@step-10"
data = "one"
"#
);

message!(
    a_step_of_a_stage_that_trains_nothing,
    r#"[stage.gen]
kind = "generate"
model = "base"
prompts = "ask"
[stage.rm]
kind = "sft"
model = "gen@step-5"
data = "ask"
"#
);

message!(
    evaluation_settings_without_sets,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
patience = 3
keep_best = true
evaluate_every = 10
"#
);

message!(
    a_set_evaluated_on_twice,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
evaluate_on = ["two", "two"]
"#
);

message!(
    prompts_to_evaluate_a_reward_model_on,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
evaluate_on = "ask"
"#
);

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
    let large = "#".repeat((1 << 20) + 1);
    assert_snapshot!(errors(&large));
    let wide = format!(
        "[matrix]\n{}{}",
        (0..7)
            .map(|i| { format!("a{i} = [0, 1, 2, 3]\n") })
            .collect::<String>(),
        r#"[stage.sample]
kind = "generate"
model = "base"
prompts = "ask"
stop = ["${matrix.a0}${matrix.a1}${matrix.a2}${matrix.a3}${matrix.a4}${matrix.a5}${matrix.a6}"]
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

message!(
    wrong_adapters,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
lora = { rank = 0, alpha = 16 }
[stage.dropout]
kind = "train-reward"
model = "base"
data = "one"
lora = { rank = 8, alpha = 16, dropout = 0.1 }
[stage.no-alpha]
kind = "train-reward"
model = "base"
data = "one"
lora = { rank = 8 }
[stage.tuned]
kind = "sft"
model = "base"
data = "ask"
lora = { rank = 8, alpha = 16, targets = ["q", "query"] }
[stage.number]
kind = "sft"
model = "base"
data = "ask"
lora = 8
"#
);

message!(
    adapters_of_nothing,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
train_blocks = 0
lora = { rank = 8, alpha = 16, targets = ["q", "v", "q"] }
"#
);

message!(
    wrong_training_settings,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
margin = -1.0
centring = -0.1
lm_loss = "much"
recompute_every = 0
max_shard_mb = 0
export_precision = "fp16"
warmup_steps = -1
[stage.tuned]
kind = "sft"
model = "base"
data = "ask"
label_smoothing = 1.5
decay_norms = "no"
freeze_embedding = 1
train_blocks = -1
"#
);

message!(
    a_decay_that_overlaps_the_warm_up,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
schedule = "wsd"
warmup_ratio = 0.4
decay_ratio = 0.7
[stage.tuned]
kind = "sft"
model = "base"
data = "ask"
schedule = "wsd"
steps = 10
warmup_steps = 8
decay_ratio = 0.3
"#
);
