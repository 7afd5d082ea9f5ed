//! How a reward training treats its sets: methods as a matrix variable, what
//! `compat` stands for, and messages as a user sees them.

use moreline_protocol::spec::{
    FirstMomentum, Method, Mixing, Pairs, Resampling, ScoreScale, Solver, StageSpec, TrainReward,
    Truncation, WeightedLoss,
};

use super::{BASE, parse};
use crate::config::Experiment;

fn with_base(text: &str) -> String {
    format!("{text}\n{BASE}")
}

fn training<'a>(experiment: &'a Experiment, name: &str) -> &'a TrainReward {
    match &experiment.stage(name).unwrap().spec {
        StageSpec::TrainReward(train) => train,
        other => panic!("{other:?} is no training"),
    }
}

/// A paper's ablation: one line for the methods, one for whose choices.
#[test]
fn methods_are_one_matrix_line() {
    let experiment = parse(&with_base(
        r#"
        [matrix]
        method = ["uniform", "more", "pcgrad", "dwa"]
        compat = ["none", "published"]
        set = ["one", "two"]
        [stage.rm]
        kind = "train-reward"
        model = "base"
        data = ["one", "two"]
        method = "${matrix.method}"
        compat = "${matrix.compat}"
        batch = 80
        dwa_window = 20
        [stage.alone]
        kind = "train-reward"
        model = "base"
        data = "${matrix.set}"
        method = "single"
        [stage.accuracy]
        kind = "evaluate-reward"
        model = "rm"
        data = ["one", "two"]
        "#,
    ));
    let count = |base: &str| {
        let own = experiment
            .stages
            .iter()
            .filter(|stage| stage.name.starts_with(base));
        own.count()
    };
    assert_eq!(
        (count("rm:"), count("alone:"), count("accuracy:")),
        (8, 2, 8)
    );
    for (name, method) in [
        ("rm:uniform,none", Method::Uniform),
        ("rm:more,none", Method::More),
        ("rm:pcgrad,published", Method::Pcgrad),
        ("rm:dwa,none", Method::Dwa),
        ("alone:two", Method::Single),
    ] {
        assert_eq!(training(&experiment, name).method, method, "{name}");
    }
    assert_eq!(training(&experiment, "rm:more,none").solver, Solver::Exact);
    assert_eq!(training(&experiment, "rm:more,published").weight_groups, 16);
}

#[test]
fn compat_fills_in_what_the_file_and_its_defaults_leave_out() {
    let experiment = parse(&with_base(
        r#"
        [defaults.train-reward]
        truncation = "left"
        [stage.rm]
        kind = "train-reward"
        model = "base"
        data = ["one", "two"]
        method = "more"
        compat = "published"
        resample = 100
        weight_groups = 2
        "#,
    ));
    let train = training(&experiment, "rm");
    assert_eq!(
        (train.truncation, train.weight_groups),
        (Truncation::Left, 2)
    );
    assert_eq!(
        (train.solver, train.mixing),
        (Solver::FrankWolfe, Some(Mixing::Equal))
    );
    assert_eq!(train.first_momentum, FirstMomentum::RandomHead);
    assert_eq!(train.weighted_loss, WeightedLoss::Pairs);
    assert_eq!(
        (train.pairs, train.score_scale),
        (Pairs::FirstTwo, ScoreScale::Max)
    );
    assert_eq!(train.resampling, Resampling::Published);
}

message!(
    dwa_on_one_set,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
method = "dwa"
"#
);

message!(
    single_on_two_sets,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
method = "single"
"#
);

message!(
    more_weight_groups_than_the_batch_has_rows_of_all_sets,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
method = "more"
weight_groups = 16
batch = 16
"#
);

message!(
    the_published_groups_with_a_small_batch,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
method = "more"
compat = "published"
"#
);

message!(
    a_mixture_without_its_temperature,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
mixing = "temperature"
"#
);

message!(
    a_mixture_without_its_weights,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
mixing = "weights"
"#
);

message!(
    weights_of_sets_that_are_not_there,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
mixing = "weights"
mixing_weights = { one = -1.0, tow = 2 }
"#
);

message!(
    weights_that_are_all_zero,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
mixing = "weights"
mixing_weights = { one = 0, two = 0 }
"#
);

message!(
    a_weight_in_quotes,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = ["one", "two"]
mixing = "weights"
mixing_weights = { one = "1", two = 1 }
"#
);
