//! Metrics: those that may not be recorded, and all of them by their paths.

use std::collections::BTreeMap;

use moreline_protocol::event::Metrics;
use serde_json::{Map, Value};

/// The path of a metric that JSON shows as null, as it does NaN and infinity.
/// Where nothing was counted (`count` is 0, as in an empty calibration bin)
/// null says that there is no value, and is fine.
pub(super) fn not_a_number(metrics: &Metrics) -> Option<String> {
    in_object(metrics, "")
}

fn in_object(members: &Map<String, Value>, path: &str) -> Option<String> {
    let empty = members.get("count").and_then(Value::as_f64) == Some(0.0);
    let counted = |(_, value): &(&String, &Value)| !(empty && value.is_null());
    let mut members = members.iter().filter(counted);
    members.find_map(|(name, value)| in_value(value, &join(path, name)))
}

fn in_value(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Null => Some(path.to_owned()),
        Value::Object(members) => in_object(members, path),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| in_value(item, &join(path, &index.to_string()))),
        _ => None,
    }
}

/// The single values of a stage's metrics by their paths, as
/// `sets.helpful.accuracy`. Lists, such as calibration bins, are no single values.
pub fn flat(metrics: &Metrics) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (name, value) in metrics {
        flatten(name, value, &mut values);
    }
    values
}

fn flatten(path: &str, value: &Value, values: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                flatten(&join(path, name), member, values);
            }
        }
        Value::Array(_) | Value::Null => {}
        single => {
            values.insert(path.to_owned(), single.clone());
        }
    }
}

/// The numbers among them.
pub(super) fn figures(metrics: &Metrics) -> BTreeMap<String, f64> {
    let values = flat(metrics).into_iter();
    values
        .filter_map(|(name, value)| Some((name, value.as_f64()?)))
        .collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        return name.to_owned();
    }
    format!("{path}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(metrics: Value) -> Option<String> {
        not_a_number(metrics.as_object().unwrap())
    }

    #[test]
    fn a_null_is_named_wherever_it_is() {
        assert_eq!(found(json!({"a": 1, "b": {"c": [0, "x", true]}})), None);
        assert_eq!(found(json!({"a": null})).unwrap(), "a");
        assert_eq!(found(json!({"a": [1, {"b": null}]})).unwrap(), "a.1.b");
    }

    #[test]
    fn an_empty_bin_has_no_value() {
        assert_eq!(
            found(json!({"bins": [{"count": 0, "accuracy": null}]})),
            None
        );
        let full = json!({"bins": [{"count": 2, "accuracy": null}]});
        assert_eq!(found(full).unwrap(), "bins.0.accuracy");
    }

    #[test]
    fn values_are_named_by_their_paths() {
        let metrics = json!({"sets": {"a": {"x": 1, "bins": [1, 2], "y": null}}, "z": "s"});
        let flat = flat(metrics.as_object().unwrap());
        let names: Vec<&str> = flat.keys().map(String::as_str).collect();
        assert_eq!(names, ["sets.a.x", "z"]);
        assert_eq!(figures(metrics.as_object().unwrap()).len(), 1);
    }
}
