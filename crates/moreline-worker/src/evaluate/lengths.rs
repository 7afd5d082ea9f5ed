//! Whether a reward model, or the data, prefer the longer response.

use moreline_stats::pairwise::credit;
use moreline_stats::{Bootstrap, correlation, describe};
use serde_json::{Map, Value, json};

use super::columns::Columns;

/// Length bias of a set's pairs and responses. What is not defined (no pair of different
/// lengths, all rewards equal) is left out.
///
/// # Errors
/// No pair.
pub(super) fn bias(
    columns: &Columns,
    (rewards, tokens): (&[f64], &[f64]),
    bootstrap: &Bootstrap,
) -> moreline_stats::Result<Value> {
    let mut found = Map::new();
    if let Ok(value) = correlation::spearman(rewards, tokens) {
        found.insert("rank_correlation".into(), value.into());
    }
    // Of the pairs whose lengths differ: how often the longer is better, and how often it is
    // given the higher reward (a half where rewards are equal).
    let (mut better, mut preferred) = (Vec::new(), Vec::new());
    for (longer_by, margin) in columns.longer_by.iter().zip(&columns.margins) {
        if *longer_by != 0.0 {
            better.push(credit(*longer_by));
            preferred.push(credit(longer_by.signum() * margin));
        }
    }
    for (name, shares) in [("longer_better", better), ("longer_preferred", preferred)] {
        if let Ok(share) = describe::mean(&shares) {
            found.insert(name.into(), share.into());
        }
    }
    let groups = describe::by_quantile(&columns.longer_by, &columns.correct, 4)?;
    let quartiles = groups
        .iter()
        .map(|group| {
            let mut value = json!({
                "lower": group.lower,
                "upper": group.upper,
                "count": group.values.len(),
            });
            if !group.values.is_empty() {
                let accuracy = bootstrap.mean(&group.values)?;
                value["accuracy"] = accuracy.estimate.into();
                value["accuracy_low"] = accuracy.lower.into();
                value["accuracy_high"] = accuracy.upper.into();
            }
            Ok(value)
        })
        .collect::<moreline_stats::Result<Vec<Value>>>()?;
    found.insert("quartiles".into(), quartiles.into());
    Ok(found.into())
}
