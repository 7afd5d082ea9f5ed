//! Several reward models on the same records: how good each is, and how far they agree.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use moreline_protocol::rows::EvaluationRow;
use moreline_stats::agreement::agreement;
use moreline_stats::pairwise::{credit, pairs};
use serde_json::{Map, Value, json};

/// Adds `models` (each one's accuracy) and `agreement` (of each two) to a set's metrics, if
/// its records have rewards of several models.
///
/// # Errors
/// Rewards that are not finite.
pub(super) fn add(
    records: &[&EvaluationRow],
    found: &mut Map<String, Value>,
) -> moreline_stats::Result<()> {
    let mut margins: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for record in records {
        for (model, rewards) in &record.models {
            let decided = pairs(&record.scores, rewards)?.decided;
            let own = margins.entry(model).or_default();
            own.extend(decided.iter().map(|pair| pair.margin));
        }
    }
    if margins.len() < 2 {
        return Ok(());
    }
    let accuracy = |margins: &Vec<f64>| {
        let right: f64 = margins.iter().map(|margin| credit(*margin)).sum();
        json!({ "accuracy": right / margins.len() as f64 })
    };
    let models = margins
        .iter()
        .map(|(model, margins)| ((*model).to_owned(), accuracy(margins)));
    found.insert("models".into(), models.collect::<Map<_, _>>().into());
    found.insert("agreement".into(), agreements(&margins)?.into());
    Ok(())
}

/// By `A / B`: the share of pairs that both models have right, wrong or undecided alike, and
/// Cohen's kappa of that, if it is defined.
fn agreements(margins: &BTreeMap<&str, Vec<f64>>) -> moreline_stats::Result<Map<String, Value>> {
    let verdicts = |margins: &Vec<f64>| -> Vec<Ordering> {
        let verdict = |margin: &f64| margin.partial_cmp(&0.0).unwrap_or(Ordering::Equal);
        margins.iter().map(verdict).collect()
    };
    let verdicts: Vec<(&str, Vec<Ordering>)> = margins
        .iter()
        .map(|(model, margins)| (*model, verdicts(margins)))
        .collect();
    let mut found = Map::new();
    for (index, (a, first)) in verdicts.iter().enumerate() {
        for (b, second) in &verdicts[index + 1..] {
            let both = agreement(first, second)?;
            let mut value = json!({ "share": both.share });
            if let Some(kappa) = both.kappa {
                value["kappa"] = kappa.into();
            }
            found.insert(format!("{a} / {b}"), value);
        }
    }
    Ok(found)
}
