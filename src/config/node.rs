//! The spanned document: TOML values that know where they were written.

use serde_json::Number;

use super::source::{At, SourceId};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The value.
    pub(super) value: Value,
    /// Where it was written; what messages point at.
    pub(super) at: At,
    /// The source that a relative path in it starts from: its own, or that of
    /// the variable it begins with.
    pub(super) base: SourceId,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A string.
    String(String),
    /// A number, with its spelling in the file.
    Number(Number, String),
    /// An infinite or undefined number; no setting takes one.
    NotFinite,
    /// `true` or `false`.
    Boolean(bool),
    /// A date or time; no setting takes one.
    Datetime,
    /// What a reference that means nothing leaves behind: fits anywhere, for
    /// the reference was reported.
    Unresolved,
    /// A list.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

/// A table in file order.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// The entries.
    pub(super) entries: Vec<Entry>,
}

/// One key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key was written.
    pub(super) key_at: At,
    /// The value.
    pub(super) node: Node,
}

impl Value {
    /// The type as a message names it, for example `a string`.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Number(number, _) if number.is_f64() => "a number with a fraction",
            Self::Number(..) => "an integer",
            Self::NotFinite => "not a finite number",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date",
            Self::Unresolved => "unknown",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// The text of a scalar as it stands in names and in longer strings.
    pub(super) fn scalar_text(&self) -> Option<String> {
        match self {
            Self::String(text) | Self::Number(_, text) => Some(text.clone()),
            Self::Boolean(value) => Some(value.to_string()),
            _ => None,
        }
    }
}

impl Node {
    /// The string, if it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The table, if it is one.
    pub(super) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The node itself, or the elements of a list.
    pub(super) fn one_or_many(&self) -> &[Node] {
        match &self.value {
            Value::Array(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The same value as JSON. Values no setting takes become null.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::String(text) => serde_json::Value::String(text.clone()),
            Value::Number(number, _) => serde_json::Value::Number(number.clone()),
            Value::Boolean(value) => serde_json::Value::Bool(*value),
            Value::NotFinite | Value::Datetime | Value::Unresolved => serde_json::Value::Null,
            Value::Array(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(table) => table.to_json(),
        }
    }
}

impl Table {
    /// The entry of a key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The value of a key, to change.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.node)
    }

    /// The keys in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// The same table as a JSON object.
    pub(super) fn to_json(&self) -> serde_json::Value {
        self.entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.node.to_json()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Lays `over` on top: tables are merged key by key, anything else is
    /// replaced.
    pub(super) fn merge(&mut self, over: Table) {
        for entry in over.entries {
            match self.get_mut(&entry.key) {
                Some(node) => match (&mut node.value, entry.node.value) {
                    (Value::Table(below), Value::Table(above)) => below.merge(above),
                    (_, value) => {
                        *node = Node {
                            value,
                            ..entry.node
                        };
                    }
                },
                None => self.entries.push(entry),
            }
        }
    }
}
