//! How one version of a stage differs from another, field by field.

use std::fmt;

use moreline_protocol::artifact::roles;
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::{StageKind, StageSpec};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::digest::Digest;

/// A stage as it is written now, or as it was computed once.
#[derive(Debug, Clone, PartialEq)]
pub struct StageVersion {
    /// Its kind.
    pub kind: StageKind,
    /// The kind's version.
    pub version: u32,
    /// Its parameters, as in the experiment file.
    pub spec: Value,
    /// Its inputs, in the order they are keyed.
    pub inputs: Vec<InputVersion>,
}

/// One input, then or now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputVersion {
    /// The stage's field.
    pub role: String,
    /// The name in the experiment file.
    pub name: String,
    /// Digest of its bytes; absent if they are not made yet.
    pub digest: Option<Digest>,
    /// The rows taken.
    pub rows: RowRange,
    /// True if the name is known to reach the result, and so is part of the key.
    #[serde(skip)]
    pub named: bool,
    /// The stage it comes from, if it comes from one.
    pub stage: Option<String>,
}

/// One field that is not as it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
#[expect(
    clippy::large_enum_variant,
    reason = "there are a few of these for each stage, and they are read by pattern"
)]
pub enum Change {
    /// The stage was of another kind.
    Kind {
        /// The kind then.
        old: StageKind,
        /// The kind now.
        new: StageKind,
    },
    /// The kind's numbers are computed otherwise by this version of the program.
    Version {
        /// The kind.
        kind: StageKind,
        /// Its version then.
        old: u32,
        /// Its version now.
        new: u32,
    },
    /// A parameter.
    Parameter {
        /// Its name.
        name: String,
        /// Its value then; absent if it had none.
        old: Option<Value>,
        /// Its value now; absent if it has none.
        new: Option<Value>,
        /// False for one that changes no result.
        keyed: bool,
    },
    /// An input: other bytes, other rows, another name, one more or one less.
    Input {
        /// The stage's field.
        role: String,
        /// What it was.
        old: Option<InputVersion>,
        /// What it is.
        new: Option<InputVersion>,
    },
    /// The same inputs in another order, which the result may depend on.
    Order {
        /// The stage's field.
        role: String,
        /// The names then.
        old: Vec<String>,
        /// The names now.
        new: Vec<String>,
    },
}

impl StageVersion {
    /// The version of a stage that this program would compute.
    pub fn present(spec: &StageSpec, inputs: Vec<InputVersion>) -> Self {
        Self {
            kind: spec.kind(),
            version: spec.kind().version(),
            spec: serde_json::to_value(spec).unwrap_or_default(),
            inputs,
        }
    }

    /// The parameters that are set, without references to inputs.
    fn parameters(&self) -> Map<String, Value> {
        let Value::Object(mut members) = self.spec.clone() else {
            return Map::new();
        };
        members.remove("kind");
        for role in roles(self.kind) {
            members.remove(role.field);
        }
        members.retain(|_, value| !value.is_null());
        members
    }

    /// Parameters that change no result.
    fn unkeyed(&self) -> &'static [&'static str] {
        serde_json::from_value::<StageSpec>(self.spec.clone()).map_or(&[], |spec| spec.unkeyed())
    }

    /// The names of all fields: parameters, then inputs.
    pub fn fields(&self) -> Vec<String> {
        let inputs = self.inputs.iter();
        let inputs = inputs.map(|input| format!("{} {}", input.role, input.name));
        self.parameters()
            .into_iter()
            .map(|(name, _)| name)
            .chain(inputs)
            .collect()
    }

    /// Every field of this version that is not as in `past`.
    pub fn changes_since(&self, past: &Self) -> Vec<Change> {
        if self.kind != past.kind {
            let (old, new) = (past.kind, self.kind);
            return vec![Change::Kind { old, new }];
        }
        let mut changes = Vec::new();
        if self.version != past.version {
            changes.push(Change::Version {
                kind: self.kind,
                old: past.version,
                new: self.version,
            });
        }
        changes.extend(self.parameter_changes(past));
        changes.extend(self.input_changes(past));
        changes
    }

    fn parameter_changes(&self, past: &Self) -> Vec<Change> {
        let (now, then) = (self.parameters(), past.parameters());
        let mut names: Vec<_> = now.keys().chain(then.keys()).collect();
        names.sort();
        names.dedup();
        let unkeyed = self.unkeyed();
        let differing = names
            .into_iter()
            .filter(|name| now.get(*name) != then.get(*name));
        differing
            .map(|name| Change::Parameter {
                name: name.clone(),
                old: then.get(name).cloned(),
                new: now.get(name).cloned(),
                keyed: !unkeyed.contains(&name.as_str()),
            })
            .collect()
    }

    fn input_changes(&self, past: &Self) -> Vec<Change> {
        let roles = roles(self.kind).iter();
        roles
            .flat_map(|role| {
                let of = |version: &Self| -> Vec<InputVersion> {
                    let inputs = version.inputs.iter();
                    inputs
                        .filter(|input| input.role == role.field)
                        .cloned()
                        .collect()
                };
                changes_of_role(role.field, &of(self), &of(past))
            })
            .collect()
    }
}

/// Pairs the inputs of one role: by name, then by bytes, then in order.
fn changes_of_role(role: &str, now: &[InputVersion], past: &[InputVersion]) -> Vec<Change> {
    let mut partner: Vec<Option<usize>> = vec![None; now.len()];
    let rules: [fn(&InputVersion, &InputVersion) -> bool; 3] = [
        |a, b| a.name == b.name,
        |a, b| a.digest.is_some() && a.digest == b.digest,
        |_, _| true,
    ];
    for fits in rules {
        for (index, input) in now.iter().enumerate() {
            if partner[index].is_none() {
                let free = |other: &usize| !partner.contains(&Some(*other));
                let mut others = (0..past.len()).filter(free);
                partner[index] = others.find(|other| fits(input, &past[*other]));
            }
        }
    }
    let mut changes = Vec::new();
    for (input, partner) in now.iter().zip(&partner) {
        let old = partner.map(|index| &past[index]);
        if old.is_none_or(|old| input.differs_from(old)) {
            changes.push(input_change(role, old, Some(input)));
        }
    }
    let gone = (0..past.len()).filter(|index| !partner.contains(&Some(*index)));
    changes.extend(gone.map(|index| input_change(role, Some(&past[index]), None)));
    if changes.is_empty() && !partner.is_sorted() {
        let names = |of: &[InputVersion]| of.iter().map(|input| input.name.clone()).collect();
        changes.push(Change::Order {
            role: role.to_owned(),
            old: names(past),
            new: names(now),
        });
    }
    changes
}

fn input_change(role: &str, old: Option<&InputVersion>, new: Option<&InputVersion>) -> Change {
    Change::Input {
        role: role.to_owned(),
        old: old.cloned(),
        new: new.cloned(),
    }
}

impl InputVersion {
    fn differs_from(&self, past: &Self) -> bool {
        self.digest != past.digest
            || self.rows != past.rows
            || (self.named && self.name != past.name)
    }
}

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

    /// True if the result's key depends on the field.
    pub fn is_keyed(&self) -> bool {
        !matches!(self, Self::Parameter { keyed: false, .. })
    }

    /// The stage whose output differs, if that is the change.
    pub fn upstream(&self) -> Option<&str> {
        match self {
            Self::Input {
                new: Some(new),
                old: Some(_),
                ..
            } => new.stage.as_deref(),
            _ => None,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(role: &str, name: &str, bytes: Option<&[u8]>) -> InputVersion {
        InputVersion {
            role: role.into(),
            name: name.into(),
            digest: bytes.map(Digest::of),
            rows: RowRange::default(),
            named: role == "data",
            stage: None,
        }
    }

    fn version(spec: Value, inputs: Vec<InputVersion>) -> StageVersion {
        let spec = serde_json::from_value(spec).unwrap();
        StageVersion::present(&spec, inputs)
    }

    fn train(lr: f64, inputs: Vec<InputVersion>) -> StageVersion {
        version(
            json!({"kind": "train-reward", "model": "m", "data": "d", "lr": lr}),
            inputs,
        )
    }

    fn sentences(now: &StageVersion, past: &StageVersion) -> Vec<String> {
        now.changes_since(past)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn nothing_changed_is_no_change() {
        let one = train(1e-5, vec![input("data", "a", Some(b"1"))]);
        assert_eq!(one.changes_since(&one), []);
    }

    #[test]
    fn inputs_are_paired_by_name_whatever_their_number() {
        let past = train(
            1e-5,
            vec![
                input("data", "a", Some(b"1")),
                input("data", "b", Some(b"2")),
            ],
        );
        let now = train(
            2e-5,
            vec![
                input("data", "c", Some(b"3")),
                input("data", "a", Some(b"1")),
                input("data", "b", Some(b"4")),
            ],
        );
        assert_eq!(
            sentences(&now, &past),
            [
                "`lr` changed from 1e-5 to 2e-5",
                "data `c` is taken as well",
                "data `b` changed"
            ]
        );
        assert_eq!(sentences(&past, &now)[2], "data `c` is not taken any more");
    }

    #[test]
    fn another_order_and_another_name_are_changes() {
        let (a, b) = (
            input("data", "a", Some(b"1")),
            input("data", "b", Some(b"2")),
        );
        let past = train(1e-5, vec![a.clone(), b.clone()]);
        let now = train(1e-5, vec![b.clone(), a.clone()]);
        assert_eq!(sentences(&now, &past), ["data is in another order"]);
        let now = train(1e-5, vec![input("data", "x", Some(b"1")), b]);
        assert_eq!(sentences(&now, &past), ["data is `x` instead of `a`"]);
    }

    #[test]
    fn what_is_not_made_yet_is_said() {
        let past = train(1e-5, vec![input("model", "m", Some(b"1"))]);
        let mut missing = input("model", "m", None);
        let now = train(1e-5, vec![missing.clone()]);
        assert_eq!(sentences(&now, &past), ["model `m` is not there"]);
        missing.stage = Some("m".into());
        let now = train(1e-5, vec![missing]);
        assert_eq!(sentences(&now, &past), ["model `m` is made anew"]);
        assert_eq!(now.changes_since(&past)[0].new_text(), "not made yet");
    }

    #[test]
    fn settings_that_change_no_result_are_marked() {
        let spec = |every: u64| json!({"kind": "train-reward", "model": "m", "data": "d", "checkpoint_every": every});
        let changes = version(spec(5), vec![]).changes_since(&version(spec(9), vec![]));
        assert_eq!(changes.len(), 1);
        assert!(!changes[0].is_keyed());
    }
}
