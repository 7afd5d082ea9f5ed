//! Why a stage runs again, in one line.

use moreline_protocol::job::RowRange;
use moreline_protocol::spec::{StageKind, StageSpec};
use serde_json::Value;

use super::key::{keyed_parameters, without_unkeyed};
use crate::digest::Digest;

/// Differences named before the rest is only counted.
const SHOWN: usize = 3;

/// A stage as it was computed last, as far as its key goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Its kind.
    pub kind: StageKind,
    /// The kind's version.
    pub version: u32,
    /// Its parameters, as in the experiment file.
    pub spec: Value,
    /// Its inputs, in the order they were keyed.
    pub inputs: Vec<PastInput>,
}

/// One input, then or now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastInput {
    /// The stage's field.
    pub role: String,
    /// The name in the experiment file.
    pub name: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// The rows taken.
    pub rows: RowRange,
}

/// Why the result of `past` does not serve a stage with these parameters and
/// inputs, in one line.
pub fn rerun_reason(spec: &StageSpec, inputs: &[PastInput], past: Option<&Past>) -> String {
    let Some(past) = past else {
        return "no result yet".into();
    };
    if past.kind != spec.kind() {
        return format!("it was a `{}` stage", past.kind.name());
    }
    if past.version != spec.kind().version() {
        let kind = past.kind.name();
        return format!("`{kind}` computes other numbers than when it last ran");
    }
    let mut changes = parameter_changes(spec, &past.spec);
    changes.extend(input_changes(inputs, &past.inputs));
    match changes.len() {
        0 => "no result for its present inputs".into(),
        count if count > SHOWN => {
            let more = count - SHOWN;
            format!("{} and {more} more changes", changes[..SHOWN].join(", "))
        }
        _ => changes.join(", "),
    }
}

fn parameter_changes(spec: &StageSpec, past: &Value) -> Vec<String> {
    let now = keyed_parameters(spec);
    let past = without_unkeyed(past.clone(), spec);
    let (Value::Object(now), Value::Object(past)) = (now, past) else {
        return Vec::new();
    };
    let mut names: Vec<_> = now.keys().chain(past.keys()).collect();
    names.sort();
    names.dedup();
    let value = |value: Option<&Value>| value.map_or_else(|| "nothing".into(), show);
    let present = |value: &&Value| !value.is_null();
    names
        .into_iter()
        .map(|name| {
            let old = past.get(name).filter(present);
            (name, old, now.get(name).filter(present))
        })
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("`{name}` changed from {} to {}", value(old), value(new)))
        .collect()
}

/// A value as a person writes it: `1e-5` rather than `0.00001`.
fn show(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
        _ => value.to_string(),
    }
}

fn input_changes(now: &[PastInput], past: &[PastInput]) -> Vec<String> {
    if now.len() != past.len() {
        return vec![format!(
            "it takes {} inputs instead of {}",
            now.len(),
            past.len()
        )];
    }
    now.iter()
        .zip(past)
        .filter_map(|(now, past)| input_change(now, past))
        .collect()
}

fn input_change(now: &PastInput, past: &PastInput) -> Option<String> {
    let PastInput { role, name, .. } = now;
    if now.role != past.role || (now.name != past.name && now.digest != past.digest) {
        let old = &past.name;
        return Some(format!("{role} is `{name}` instead of `{old}`"));
    }
    if now.digest != past.digest {
        return Some(format!("{role} `{name}` changed"));
    }
    if now.rows != past.rows {
        return Some(format!("other rows of {role} `{name}` are taken"));
    }
    None
}
