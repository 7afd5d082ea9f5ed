//! How one version of a stage differs from another, field by field.

use moreline_protocol::artifact::roles;
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::{StageKind, StageSpec};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::digest::Digest;

mod wording;

pub use wording::{rows_text, show};

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

#[cfg(test)]
mod tests;
