//! The one figure of a stage that people look for first.

use moreline_protocol::event::Metrics;
use moreline_protocol::spec::StageKind;

use super::table::number;

/// The headline of a stage's metrics; empty if it has none.
pub(super) fn headline(kind: StageKind, metrics: &Metrics) -> String {
    let at = |path: &[&str]| find(metrics, path);
    let figure = |path: &[&str], name: &str| at(path).map(|v| format!("{name} {}", number(v)));
    let found = match kind {
        StageKind::TrainReward | StageKind::Sft => figure(&["final_loss"], "loss"),
        StageKind::EvaluateReward => figure(&["mean", "accuracy"], "accuracy"),
        StageKind::Generate => figure(&["responses"], "responses"),
        StageKind::Score => figure(&["mean"], "mean reward"),
        StageKind::Select => selected(metrics),
        StageKind::Perplexity => figure(&["perplexity"], "perplexity"),
        StageKind::Judge => win_rate(metrics),
        StageKind::Import => figure(&["rows"], "rows"),
    };
    found.unwrap_or_default()
}

fn selected(metrics: &Metrics) -> Option<String> {
    let count = number(find(metrics, &["selected"])?);
    let means = find(metrics, &["mean_before"]).zip(find(metrics, &["mean_after"]));
    Some(match means {
        Some((before, after)) => format!(
            "{count} selected, mean reward {} -> {}",
            number(before),
            number(after)
        ),
        None => format!("{count} selected"),
    })
}

fn win_rate(metrics: &Metrics) -> Option<String> {
    let rate = find(metrics, &["win_rate"])?;
    let bounds = find(metrics, &["win_rate_low"]).zip(find(metrics, &["win_rate_high"]));
    Some(match bounds {
        Some((low, high)) => format!("win rate {rate:.3} [{low:.3}, {high:.3}]"),
        None => format!("win rate {rate:.3}"),
    })
}

fn find(metrics: &Metrics, path: &[&str]) -> Option<f64> {
    let (first, rest) = path.split_first()?;
    let start = metrics.get(*first)?;
    rest.iter()
        .try_fold(start, |value, name| value.get(name))?
        .as_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(kind: StageKind, metrics: serde_json::Value) -> String {
        headline(kind, metrics.as_object().expect("an object"))
    }

    #[test]
    fn says_what_matters() {
        assert_eq!(
            of(
                StageKind::EvaluateReward,
                json!({"mean": {"accuracy": 0.75}})
            ),
            "accuracy 0.7500"
        );
        assert_eq!(
            of(
                StageKind::Judge,
                json!({"win_rate": 0.5, "win_rate_low": 0.4, "win_rate_high": 0.6})
            ),
            "win rate 0.500 [0.400, 0.600]"
        );
        assert_eq!(of(StageKind::Generate, json!({})), "");
    }
}
