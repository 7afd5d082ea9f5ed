//! Which metrics become columns.

use std::collections::BTreeSet;

use glob::Pattern;
use moreline_protocol::spec::StageKind;

use super::Row;
use crate::cli::error::CliError;
use crate::config::closest;

/// What one looks for first in the metrics of a kind of stage.
fn first(kind: StageKind) -> &'static [&'static str] {
    match kind {
        StageKind::TrainReward | StageKind::Sft => &["final_loss"],
        StageKind::EvaluateReward => &["mean.accuracy", "mean.ece", "sets.*.accuracy"],
        StageKind::Generate => &["responses"],
        StageKind::Score => &["mean"],
        StageKind::Select => &["selected", "mean_before", "mean_after"],
        StageKind::Perplexity => &["perplexity"],
        StageKind::Judge => &["win_rate", "win_rate_low", "win_rate_high"],
        StageKind::Import => &["imported"],
    }
}

/// The columns that some row of a kind is looked at for first.
pub(super) fn by_kind(rows: &[Row]) -> Vec<String> {
    let mut columns = Vec::new();
    for (stage, values) in rows {
        for text in first(stage.kind) {
            let Ok(pattern) = Pattern::new(text) else {
                continue;
            };
            let fitting = values.keys().filter(|name| pattern.matches(name));
            add(&mut columns, fitting);
        }
    }
    columns
}

/// The columns that fit a pattern, pattern by pattern.
pub(super) fn fitting(rows: &[Row], patterns: &[Pattern]) -> Result<Vec<String>, CliError> {
    let all: BTreeSet<&String> = rows.iter().flat_map(|(_, values)| values.keys()).collect();
    let mut columns = Vec::new();
    for pattern in patterns {
        let fitting: Vec<&String> = all
            .iter()
            .copied()
            .filter(|name| fits(pattern, name))
            .collect();
        if fitting.is_empty() {
            let last = |name: &&String| name.rsplit('.').next().unwrap_or_default().to_owned();
            let names: BTreeSet<String> = all.iter().map(last).collect();
            let near = closest(pattern.as_str(), names.iter().map(String::as_str));
            let hint = match near {
                Some(name) => format!("did you mean `{name}`?"),
                None => "`--columns '*'` shows all".into(),
            };
            let reason = format!("none is called `{}`; {hint}", pattern.as_str());
            return Err(CliError::NoMetrics { reason });
        }
        add(&mut columns, fitting);
    }
    Ok(columns)
}

pub(super) fn add<'a>(columns: &mut Vec<String>, names: impl IntoIterator<Item = &'a String>) {
    for name in names {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
}

/// Whether a pattern fits a name, or what follows one of its dots.
fn fits(pattern: &Pattern, name: &str) -> bool {
    let tails = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
    std::iter::once(name)
        .chain(tails)
        .any(|tail| pattern.matches(tail))
}
