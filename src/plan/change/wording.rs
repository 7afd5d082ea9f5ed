//! Changes as a person says them.

use std::fmt;

use moreline_protocol::job::RowRange;
use serde_json::Value;

use super::{Change, InputVersion};

impl Change {
    /// The field's name: `lr`, `data helpful`.
    pub fn field(&self) -> String {
        match self {
            Self::Kind { .. } => "kind".into(),
            Self::Version { .. } => "version".into(),
            Self::Parameter { name, .. } => name.clone(),
            Self::Input { role, old, new } => {
                let input = new.as_ref().or(old.as_ref());
                format!("{role} {}", input.map_or("", |input| &input.name))
            }
            Self::Order { role, .. } => format!("order of {role}"),
        }
    }

    /// The old value as a person writes it; empty if there was none.
    pub fn old_text(&self) -> String {
        match self {
            Self::Kind { old, .. } => old.name().into(),
            Self::Version { old, .. } => old.to_string(),
            Self::Parameter { old, .. } => old.as_ref().map_or_else(String::new, show),
            Self::Input { old, new, .. } => input_text(old.as_ref(), new.as_ref()),
            Self::Order { old, .. } => old.join(", "),
        }
    }

    /// The new value as a person writes it; empty if there is none.
    pub fn new_text(&self) -> String {
        match self {
            Self::Kind { new, .. } => new.name().into(),
            Self::Version { new, .. } => new.to_string(),
            Self::Parameter { new, .. } => new.as_ref().map_or_else(String::new, show),
            Self::Input { old, new, .. } => input_text(new.as_ref(), old.as_ref()),
            Self::Order { new, .. } => new.join(", "),
        }
    }
}

/// One side of an input: what tells it from the other.
fn input_text(side: Option<&InputVersion>, other: Option<&InputVersion>) -> String {
    let Some(side) = side else {
        return String::new();
    };
    let mut parts = Vec::new();
    if other.is_some_and(|other| other.name != side.name) {
        parts.push(format!("`{}`", side.name));
    }
    if other.is_none_or(|other| other.digest != side.digest) {
        let absent = if side.stage.is_some() {
            "not made yet"
        } else {
            "not there"
        };
        parts.push(side.digest.map_or(absent.into(), |digest| digest.short()));
    }
    if other.is_some_and(|other| other.rows != side.rows) {
        parts.push(rows_text(&side.rows));
    }
    parts.join(" ")
}

/// The rows taken as a person says it: `rows 1 to 80`.
pub fn rows_text(rows: &RowRange) -> String {
    match (rows.offset, rows.limit) {
        (0, None) => "all rows".into(),
        (offset, None) => format!("rows from {}", offset + 1),
        (offset, Some(limit)) => {
            format!("rows {} to {}", offset + 1, offset.saturating_add(limit))
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { old, .. } => write!(f, "it was a `{}` stage", old.name()),
            Self::Version { kind, .. } => {
                let kind = kind.name();
                write!(f, "`{kind}` computes other numbers than when it last ran")
            }
            Self::Parameter { name, old, new, .. } => {
                let value =
                    |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".into(), show);
                write!(f, "`{name}` changed from {} to {}", value(old), value(new))
            }
            Self::Input { role, old, new } => f.write_str(&input_sentence(role, old, new)),
            Self::Order { role, .. } => write!(f, "{role} is in another order"),
        }
    }
}

fn input_sentence(role: &str, old: &Option<InputVersion>, new: &Option<InputVersion>) -> String {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (Some(gone), None) => return format!("{role} `{}` is not taken any more", gone.name),
        (None, Some(more)) => return format!("{role} `{}` is taken as well", more.name),
        (None, None) => return String::new(),
    };
    let name = &new.name;
    if new.name != old.name && (new.digest != old.digest || new.named) {
        return format!("{role} is `{name}` instead of `{}`", old.name);
    }
    match new.digest {
        None if new.stage.is_none() => format!("{role} `{name}` is not there"),
        None => format!("{role} `{name}` is made anew"),
        digest if digest != old.digest => format!("{role} `{name}` changed"),
        _ => format!("other rows of {role} `{name}` are taken"),
    }
}

/// A value as a person writes it: `1e-5` rather than `0.00001`.
pub fn show(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
        _ => value.to_string(),
    }
}
