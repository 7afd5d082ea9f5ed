//! Means over one variable of the matrix.

use std::collections::BTreeMap;

use moreline_protocol::spec::StageKind;
use moreline_stats::interval::of_mean;
use serde_json::Value;

use super::Row;
use crate::cli::error::CliError;
use crate::config::{closest, name_in_cell};
use crate::engine::Measured;

/// Level of the intervals.
const LEVEL: f64 = 0.95;
/// The name under which a mean's number of cells stands.
const CELLS: &str = "cells";

/// The name of a mean's lower bound.
pub(super) fn low(column: &str) -> String {
    format!("{column}_low")
}

/// The name of a mean's upper bound.
pub(super) fn high(column: &str) -> String {
    format!("{column}_high")
}

/// Rows that differ in `variable` alone become one: each figure their mean, with
/// the bounds of its interval where there are two or more. A stage's own bounds
/// are about its records, and are left out. Rows without the variable stay.
///
/// # Errors
/// No row depends on the variable.
pub(super) fn means(rows: Vec<Row>, variable: &str) -> Result<Vec<Row>, CliError> {
    if !rows.iter().any(|(stage, _)| varies(stage, variable)) {
        return Err(unknown(&rows, variable));
    }
    let mut groups: Vec<(Key, Vec<Row>)> = Vec::new();
    for row in rows {
        let key = key(&row.0, variable);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    let collapsed = groups.into_iter().map(|(key, members)| {
        if !varies(&members[0].0, variable) {
            return members;
        }
        let values = averaged(&members);
        let stage = members.into_iter().next().map(|(stage, _)| Measured {
            stage: name_in_cell(&key.stage, key.cell.iter().map(|(_, value)| value.as_str())),
            cell: key.cell,
            ..stage
        });
        stage.map(|stage| (stage, values)).into_iter().collect()
    });
    Ok(collapsed.flatten().collect())
}

/// What rows of one mean have in common.
#[derive(PartialEq)]
struct Key {
    run: Option<String>,
    stage: String,
    kind: StageKind,
    cell: Vec<(String, String)>,
}

fn key(stage: &Measured, variable: &str) -> Key {
    let own = varies(stage, variable);
    let base = stage
        .stage
        .split_once(':')
        .map_or(&*stage.stage, |(base, _)| base);
    let others = stage.cell.iter().filter(|(name, _)| name != variable);
    Key {
        run: stage.run.clone(),
        stage: if own { base } else { &stage.stage }.to_owned(),
        kind: stage.kind,
        cell: others.cloned().collect(),
    }
}

fn varies(stage: &Measured, variable: &str) -> bool {
    stage.cell.iter().any(|(name, _)| name == variable)
}

fn averaged(members: &[Row]) -> BTreeMap<String, Value> {
    let mut figures: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for (name, value) in members.iter().flat_map(|(_, values)| values) {
        if let Some(figure) = value.as_f64() {
            figures.entry(name).or_default().push(figure);
        }
    }
    let own_bound = |name: &str| {
        let base = name
            .strip_suffix("_low")
            .or_else(|| name.strip_suffix("_high"));
        base.is_some_and(|base| figures.contains_key(&base.to_owned()))
    };
    let mut means = BTreeMap::new();
    for (name, values) in figures.iter().filter(|(name, _)| !own_bound(name)) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        means.insert((*name).clone(), Value::from(mean));
        if let Ok(interval) = of_mean(values, LEVEL) {
            means.insert(low(name), Value::from(interval.lower));
            means.insert(high(name), Value::from(interval.upper));
        }
    }
    means.insert(CELLS.into(), Value::from(members.len()));
    means
}

fn unknown(rows: &[Row], variable: &str) -> CliError {
    let names = rows.iter().flat_map(|(stage, _)| &stage.cell);
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    let hint = match closest(variable, names.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    CliError::NoMetrics {
        reason: format!("no stage depends on a matrix variable `{variable}`{hint}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine;

    fn row(name: &str, cell: &[(&str, &str)], metrics: Value) -> Row {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let stage = Measured {
            run: None,
            stage: name.into(),
            cell: cell.iter().map(text).collect(),
            kind: StageKind::EvaluateReward,
            metrics: metrics.as_object().cloned().unwrap_or_default(),
        };
        let values = engine::flat(&stage.metrics);
        (stage, values)
    }

    #[test]
    fn cells_that_differ_in_the_variable_alone_become_their_mean() {
        let seed = |method: &str, seed: &str, accuracy: f64| {
            let metrics =
                json!({"accuracy": accuracy, "accuracy_low": 0.0, "sets": {"a": {"n": 4}}});
            let name = format!("eval:{method},{seed}");
            row(&name, &[("method", method), ("seed", seed)], metrics)
        };
        let alone = row(
            "other:x",
            &[("set", "x")],
            json!({"accuracy": 0.5, "accuracy_low": 0.4}),
        );
        let rows = vec![
            seed("more", "0", 0.5),
            seed("uniform", "0", 0.25),
            seed("more", "1", 0.7),
            alone,
        ];
        let found = means(rows, "seed").unwrap();
        let names: Vec<&str> = found
            .iter()
            .map(|(stage, _)| stage.stage.as_str())
            .collect();
        assert_eq!(names, ["eval:more", "eval:uniform", "other:x"]);
        let figure = |row: usize, name: &str| found[row].1.get(name).and_then(Value::as_f64);
        assert!((figure(0, "accuracy").unwrap() - 0.6).abs() < 1e-12);
        // Two values: half-width = 12.7062 |a - b| / 2.
        assert!((figure(0, "accuracy_high").unwrap() - 0.6 - 1.270_62).abs() < 1e-4);
        assert_eq!(figure(0, "cells"), Some(2.0));
        assert_eq!(figure(0, "sets.a.n"), Some(4.0));
        // One value has no interval, and its own bound is not one of the mean.
        assert_eq!(figure(1, "accuracy"), Some(0.25));
        assert_eq!(figure(1, "accuracy_low"), None);
        assert_eq!(figure(2, "accuracy_low"), Some(0.4));
    }

    #[test]
    fn a_variable_no_stage_depends_on_is_an_error() {
        let rows = vec![row("eval:0", &[("seed", "0")], json!({"accuracy": 1.0}))];
        let message = means(rows, "sead").unwrap_err().to_string();
        insta::assert_snapshot!(message, @"failed to find metrics: no stage depends on a matrix variable `sead`; did you mean `seed`?");
    }
}
