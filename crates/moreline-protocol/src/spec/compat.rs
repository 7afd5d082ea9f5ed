//! What the published MORE code (arXiv 2312.07401) does otherwise, each as a
//! setting of its own, and the name for all of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whose choices stand in for settings that are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// The defaults of this program.
    #[default]
    None,
    /// Those of the published code; see [`published`].
    Published,
}

/// What MORE's running head gradients start from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FirstMomentum {
    /// Zero.
    #[default]
    Zero,
    /// The weights of a fresh linear head, uniform within 1 / sqrt(hidden size)
    /// on either side of zero and the same for every task, as in the published
    /// code; seeded.
    RandomHead,
}

/// What the tasks' weights multiply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WeightedLoss {
    /// Each task's mean loss over its pairs: the sum over tasks of
    /// weight x mean loss.
    #[default]
    Means,
    /// Each pair's loss: K / pairs x the sum over tasks of weight x summed loss,
    /// with K tasks present, as in the published code. The same where all tasks
    /// have equally many pairs.
    Pairs,
}

/// What becomes of a row's scores before they are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreScale {
    /// They stay as they are.
    #[default]
    None,
    /// They are divided by the row's largest (plus 1e-5), as in the published
    /// code, where that is above zero; elsewhere it would turn the preference
    /// round, and they stay as they are.
    Max,
}

/// How `resample` fills a set that is smaller, or cuts one that is larger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resampling {
    /// Rows drawn with replacement from a smaller set, without from a larger one.
    #[default]
    Random,
    /// As the published code means to: a smaller set whole, and the rest drawn
    /// without replacement from as many copies of it as are needed; of a larger
    /// set the first rows.
    Published,
}

/// The settings that `compat = "published"` stands for, laid under those that
/// `settings` (of a `train-reward` stage) has: what is written wins.
///
/// * `solver = "frank-wolfe"`
/// * `weight_groups = 16`, one for each GPU of the published runs
/// * `first_momentum = "random-head"`
/// * `weighted_loss = "pairs"`
/// * `pairs = "first-two"`
/// * `score_scale = "max"`
/// * `truncation = "left-published"`
/// * `resampling = "published"`, and with `resample` and a method that weighs
///   tasks `mixing = "equal"`, otherwise `mixing = "proportional"`
///
/// `alpha` and `normalize` are settings of the published code too and keep
/// their defaults. What is plainly a fault there is not done here: preferences
/// turned round by scores below zero, negative scores taken for padding, rows
/// resampled from another set, rows beyond the number of tasks left out, task
/// numbers taken for weights.
pub fn published(settings: &mut Map<String, Value>) {
    if settings.get("compat").and_then(Value::as_str) != Some("published") {
        return;
    }
    let weighs = settings
        .get("method")
        .and_then(Value::as_str)
        .is_some_and(|method| !matches!(method, "uniform" | "single"));
    let mixing = if weighs && settings.contains_key("resample") {
        "equal"
    } else {
        "proportional"
    };
    let choices: [(&str, Value); 9] = [
        ("solver", "frank-wolfe".into()),
        ("weight_groups", 16.into()),
        ("first_momentum", "random-head".into()),
        ("weighted_loss", "pairs".into()),
        ("pairs", "first-two".into()),
        ("score_scale", "max".into()),
        ("truncation", "left-published".into()),
        ("resampling", "published".into()),
        ("mixing", mixing.into()),
    ];
    for (name, value) in choices {
        settings.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{
        Method, Mixing, Pairs, Solver, StageKind, StageSpec, TrainReward, Truncation,
    };
    use super::*;

    fn spec(mut settings: Value) -> TrainReward {
        settings["model"] = "m".into();
        settings["data"] = json!(["a", "b"]);
        published(settings.as_object_mut().unwrap());
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn published_stands_for_these_settings() {
        let spec = spec(json!({"compat": "published", "method": "more", "resample": 9}));
        assert_eq!(spec.solver, Solver::FrankWolfe);
        assert_eq!(spec.weight_groups, 16);
        assert_eq!(spec.first_momentum, FirstMomentum::RandomHead);
        assert_eq!(spec.weighted_loss, WeightedLoss::Pairs);
        assert_eq!(spec.pairs, Pairs::FirstTwo);
        assert_eq!(spec.score_scale, ScoreScale::Max);
        assert_eq!(spec.truncation, Truncation::LeftPublished);
        assert_eq!(spec.resampling, Resampling::Published);
        assert_eq!(spec.mixing(), Mixing::Equal);
        assert_eq!((spec.alpha, spec.method), (0.99, Method::More));
    }

    #[test]
    fn without_resampling_the_published_rows_are_shuffled_together() {
        let more = json!({"compat": "published", "method": "more"});
        assert_eq!(spec(more).mixing(), Mixing::Proportional);
        let uniform = json!({"compat": "published", "resample": 9});
        assert_eq!(spec(uniform).mixing(), Mixing::Proportional);
    }

    #[test]
    fn what_is_written_wins_and_without_compat_nothing_changes() {
        let own = json!({"compat": "published", "solver": "exact", "weight_groups": 2});
        let found = spec(own);
        assert_eq!((found.solver, found.weight_groups), (Solver::Exact, 2));
        assert_eq!(found.first_momentum, FirstMomentum::RandomHead);
        assert_eq!(spec(json!({"compat": "none"})), spec(json!({})));
    }

    /// Two ways to say the same are one result.
    #[test]
    fn the_name_itself_is_not_keyed() {
        let named = StageSpec::TrainReward(spec(json!({"compat": "published"})));
        assert_eq!(named.kind(), StageKind::TrainReward);
        assert!(named.unkeyed().contains(&"compat"));
    }

    /// Settings of their own do not enter the keys of those who leave them out.
    #[test]
    fn settings_left_out_are_not_written() {
        let written = serde_json::to_value(spec(json!({}))).unwrap();
        let settings = [
            "compat",
            "group_by_task",
            "dwa_window",
            "dwa_temperature",
            "first_momentum",
            "weighted_loss",
            "score_scale",
            "resample",
            "resampling",
            "mixing_temperature",
            "mixing_weights",
            "ties",
            "noise_margin",
        ];
        for name in settings {
            assert!(written.get(name).is_none(), "{name}");
        }
    }
}
