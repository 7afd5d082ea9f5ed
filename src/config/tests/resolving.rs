use std::path::Path;

use moreline_protocol::spec::{Method, StageSpec};

use super::{Files, parse};
use crate::config::{LoadOptions, ModelSource, Referent, load, load_site};

const BASE: &str = r#"
[model.base]
source = "m.gguf"
[data.one]
path = "one.json"
[data.two]
path = "two.json"
limit = 20
[prompts.ask]
path = "ask.jsonl"
"#;

fn with_base(text: &str) -> String {
    format!("{text}\n{BASE}")
}

fn names(experiment: &crate::config::Experiment) -> Vec<&str> {
    experiment.stages.iter().map(|s| s.name.as_str()).collect()
}

#[test]
fn paths_start_at_the_file_that_states_them() {
    let files = Files::new(&[
        ("shared/base.toml", &with_base("")),
        (
            "a.toml",
            r#"
            extends = "shared/base.toml"
            [data.two]
            path = "mine.json"
            [stage.rm]
            kind = "train-reward"
            model = "base"
            data = ["one", "two"]
            "#,
        ),
    ]);
    let experiment = files.load(&[("data.one.path", "/abs/set.json")]).unwrap();
    let root = files
        .path("a.toml")
        .parent()
        .unwrap()
        .canonicalize()
        .unwrap();
    assert_eq!(experiment.path, root.join("a.toml"));
    assert_eq!(experiment.data["one"].path, Path::new("/abs/set.json"));
    assert_eq!(experiment.data["two"].path, root.join("mine.json"));
    assert_eq!(experiment.data["two"].rows.limit, Some(20));
    assert_eq!(
        experiment.models["base"].source,
        ModelSource::Path(root.join("shared/m.gguf"))
    );
    assert_eq!(experiment.name, "a");
}

#[test]
fn a_chain_of_files_is_laid_over_in_order() {
    let files = Files::new(&[
        (
            "a.toml",
            "extends = \"b.toml\"\n[stage.sample]\nsamples = 3\n[defaults.generate]\ntop_p = 0.5\n",
        ),
        (
            "b.toml",
            "extends = \"sub/c.toml\"\n[stage.sample]\nsamples = 2\nmax_new_tokens = 9\n",
        ),
        (
            "sub/c.toml",
            &with_base(
                "[stage.sample]\nkind = \"generate\"\nmodel = \"base\"\nprompts = \"ask\"\n\
                 [defaults.generate]\ntop_p = 0.9\ntemperature = 0.25\nsamples = 7\n",
            ),
        ),
    ]);
    let experiment = files.load(&[]).expect("it is right");
    let spec = serde_json::to_value(&experiment.stages[0].spec).expect("JSON");
    assert_eq!(
        (
            &spec["samples"],
            &spec["max_new_tokens"],
            &spec["top_p"],
            &spec["temperature"]
        ),
        (&3.into(), &9.into(), &0.5.into(), &0.25.into())
    );
    assert!(experiment.prompts["ask"].path.ends_with("sub/ask.jsonl"));
}

#[test]
fn a_variable_brings_its_own_directory_and_type() {
    let files = Files::new(&[(
        "a.toml",
        r#"
        [vars]
        data = "sets"
        file = "${vars.data}/one.json"
        rate = 1e-5
        [data.one]
        path = "${vars.file}"
        [model.base]
        source = "hf:org/model@v2"
        [stage.rm]
        kind = "train-reward"
        model = "base"
        data = "one"
        lr = "${vars.rate}"
        "#,
    )]);
    let experiment = files.load(&[]).unwrap();
    let root = files.path("").canonicalize().unwrap();
    assert_eq!(experiment.data["one"].path, root.join("sets/one.json"));
    let StageSpec::TrainReward(train) = &experiment.stages[0].spec else {
        panic!("not a training");
    };
    assert_eq!(train.lr, 1e-5);
    let moved = files.load(&[("vars.data", "elsewhere")]).unwrap();
    let here = std::path::absolute("elsewhere/one.json").unwrap();
    assert_eq!(moved.data["one"].path, here);
}

#[test]
fn the_matrix_multiplies_what_depends_on_it_and_nothing_else() {
    let experiment = parse(&with_base(
        r#"
        [matrix]
        method = ["uniform", "more"]
        seed = [1, 2]
        [defaults.train-reward]
        lr = 2e-5
        [stage.sample]
        kind = "generate"
        model = "base"
        prompts = "ask"
        [stage.rm]
        kind = "train-reward"
        model = "base"
        data = ["one", "two"]
        method = "${matrix.method}"
        [stage.scored]
        kind = "score"
        model = "rm"
        responses = "sample"
        [stage.eval]
        kind = "evaluate-reward"
        model = "rm:more"
        data = "one"
        seed = "${matrix.seed}"
        [stage.judge]
        kind = "judge"
        a = "scored:more"
        b = "scored:uniform"
        model = "rm"
        "#,
    ));
    assert_eq!(
        names(&experiment),
        [
            "sample",
            "rm:uniform",
            "rm:more",
            "scored:uniform",
            "scored:more",
            "eval:1",
            "eval:2",
            "judge:uniform",
            "judge:more",
        ]
    );
    let StageSpec::TrainReward(more) = &experiment.stage("rm:more").unwrap().spec else {
        panic!("not a training");
    };
    assert_eq!((more.method, more.lr), (Method::More, 2e-5));
    let StageSpec::Score(scored) = &experiment.stage("scored:more").unwrap().spec else {
        panic!("not a scoring");
    };
    assert_eq!(
        (scored.model.names()[0].as_str(), scored.responses.as_str()),
        ("rm:more", "sample")
    );
    let judge = experiment.stage("judge:uniform").unwrap();
    assert_eq!(judge.cell, [("method".to_owned(), "uniform".to_owned())]);
    let StageSpec::Judge(spec) = &judge.spec else {
        panic!("not a judge");
    };
    assert_eq!(spec.a, "scored:more");
    assert_eq!(spec.model.as_deref(), Some("rm:uniform"));
    assert_eq!(experiment.referent("rm:more"), Some(Referent::Stage(2)));
}

#[test]
fn a_reference_may_depend_on_the_matrix() {
    let experiment = parse(&with_base(
        r#"
        [matrix]
        set = ["one", "two"]
        [stage.rm]
        kind = "train-reward"
        model = "base"
        data = "${matrix.set}"
        [stage.eval]
        kind = "evaluate-reward"
        model = "rm"
        data = ["one", "two"]
        "#,
    ));
    assert_eq!(
        names(&experiment),
        ["rm:one", "rm:two", "eval:one", "eval:two"]
    );
}

#[test]
fn overrides_win_and_take_toml_values() {
    let files = Files::new(&[(
        "a.toml",
        &with_base(
            r#"
            [stage.rm]
            kind = "train-reward"
            model = "base"
            data = ["one", "two"]
            "#,
        ),
    )]);
    let experiment = files
        .load(&[
            ("stage.rm.lr", "3e-5"),
            ("stage.rm.data", "[\"two\"]"),
            ("stage.rm.method", "uniform"),
            ("data.two.limit", "10"),
            ("title", "Two sets"),
            ("stage.rm.limit", "5"),
        ])
        .unwrap();
    let StageSpec::TrainReward(train) = &experiment.stages[0].spec else {
        panic!("not a training");
    };
    assert_eq!(train.lr, 3e-5);
    assert_eq!(train.data.names(), ["two"]);
    assert_eq!(train.limit, Some(5));
    assert_eq!(experiment.data["two"].rows.limit, Some(10));
    assert_eq!(experiment.title.as_deref(), Some("Two sets"));
}

#[test]
fn a_rehearsal_is_short() {
    let files = Files::new(&[(
        "a.toml",
        &with_base(
            r#"
            [stage.rm]
            kind = "train-reward"
            model = "base"
            data = ["one", "two"]
            [stage.sample]
            kind = "generate"
            model = "base"
            prompts = "ask"
            samples = 16
            max_new_tokens = 4
            "#,
        ),
    )]);
    let options = LoadOptions {
        smoke: true,
        ..LoadOptions::default()
    };
    let experiment = load(&files.path("a.toml"), &options).unwrap();
    assert!(experiment.smoke);
    assert_eq!(experiment.data["two"].rows.limit, Some(8));
    let StageSpec::TrainReward(train) = &experiment.stages[0].spec else {
        panic!("not a training");
    };
    assert_eq!(train.steps, Some(2));
    let StageSpec::Generate(sample) = &experiment.stages[1].spec else {
        panic!("not a generation");
    };
    assert_eq!((sample.samples, sample.max_new_tokens), (2, 4));
}

#[test]
fn the_site_file_is_found_in_order() {
    let files = Files::new(&[
        ("x/a.toml", ""),
        (
            "x/moreline.toml",
            "cache = \"../store\"\ndevices = [\"cuda:0\"]",
        ),
        ("user.toml", "threads = 3"),
        ("y/a.toml", ""),
    ]);
    let user = files.path("user.toml");
    let site = load_site(&files.path("x/a.toml"), None, Some(&user)).unwrap();
    let root = files.path("").canonicalize().unwrap();
    assert_eq!(site.cache, Some(root.join("store")));
    assert_eq!(site.devices, ["cuda:0"]);
    let site = load_site(&files.path("x/a.toml"), Some(&user), None).unwrap();
    assert_eq!(site.threads, Some(3));
    let site = load_site(&files.path("y/a.toml"), None, Some(&user)).unwrap();
    assert_eq!(site.threads, Some(3));
    let missing = files.path("none.toml");
    let site = load_site(&files.path("y/a.toml"), None, Some(&missing)).unwrap();
    assert_eq!(site, crate::config::Site::default());
}

#[test]
fn a_dollar_sign_can_be_written() {
    let experiment = parse(&with_base(
        r#"
        title = "costs $${5} and $3"
        [stage.sample]
        kind = "generate"
        model = "base"
        prompts = "ask"
        "#,
    ));
    assert_eq!(experiment.title.as_deref(), Some("costs ${5} and $3"));
}

/// A sweep whose evaluation takes the model after a step.
const STEPS: &str = r#"
[matrix]
method = ["uniform", "more"]
[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
method = "${matrix.method}"
save_every = 50
evaluate_on = "two"
evaluate_every = 10
[stage.early]
kind = "evaluate-reward"
model = "rm@step-100"
data = "two"
[stage.half]
kind = "evaluate-reward"
model = "rm:more@step-50"
data = "two"
"#;

/// The models that stages of these names take.
fn model_of(experiment: &crate::config::Experiment, name: &str) -> String {
    let spec = serde_json::to_value(&experiment.stage(name).unwrap().spec).unwrap();
    spec["model"].as_str().unwrap().to_owned()
}

#[test]
fn steps_follow_their_stage_through_the_matrix() {
    let files = Files::new(&[("a.toml", &with_base(STEPS))]);
    let experiment = files.load(&[]).unwrap();
    let expected = [
        "rm:uniform",
        "rm:more",
        "early:uniform",
        "early:more",
        "half",
    ];
    assert_eq!(names(&experiment), expected);
    assert_eq!(model_of(&experiment, "early:more"), "rm:more@step-100");
    assert_eq!(model_of(&experiment, "half"), "rm:more@step-50");
}

#[test]
fn a_rehearsal_takes_the_model_after_its_first_step() {
    let files = Files::new(&[("a.toml", &with_base(STEPS))]);
    let options = LoadOptions {
        smoke: true,
        ..LoadOptions::default()
    };
    let experiment = load(&files.path("a.toml"), &options).unwrap();
    assert_eq!(model_of(&experiment, "early:more"), "rm:more@step-1");
    let StageSpec::TrainReward(spec) = &experiment.stage("rm:more").unwrap().spec else {
        panic!("another kind");
    };
    let expected = (Some(2), Some(1), Some(1));
    assert_eq!((spec.steps, spec.save_every, spec.evaluate_every), expected);
}
