//! One variable of the matrix.

use super::error::Problem;
use super::node::{Node, Value};

/// One matrix variable.
pub(super) struct Axis {
    /// Its name.
    pub(super) name: String,
    /// Its values and their spelling in stage names.
    pub(super) values: Vec<(String, Node)>,
}

/// The values that `[matrix]` lists for a variable.
pub(super) fn values(name: &str, node: &Node, problems: &mut Vec<Problem>) -> Vec<(String, Node)> {
    let items = match &node.value {
        Value::Array(items) if !items.is_empty() => items,
        _ => {
            problems.push(
                Problem::at(
                    &node.at,
                    format!("`matrix.{name}` takes a list of values"),
                    "not a list with values",
                )
                .hint(format!("write {name} = [\"one\", \"two\"]")),
            );
            return Vec::new();
        }
    };
    let mut found: Vec<(String, Node)> = Vec::new();
    for item in items {
        match spelling(name, item) {
            Ok(text) if found.iter().any(|(earlier, _)| *earlier == text) => {
                problems.push(Problem::at(
                    &item.at,
                    format!("`matrix.{name}` holds `{text}` twice"),
                    "again",
                ))
            }
            Ok(text) => found.push((text, item.clone())),
            Err(problem) => problems.push(problem),
        }
    }
    found
}

/// A value as it stands in stage names.
pub(super) fn spelling(name: &str, item: &Node) -> Result<String, Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-+.".contains(c);
    match item.value.scalar_text() {
        Some(text) if text.is_empty() || !text.chars().all(fits) => Err(Problem::at(
            &item.at,
            format!("`{text}` cannot be part of a stage's name"),
            "here",
        )
        .hint("matrix values are made of letters, digits, `_`, `-`, `+` and `.`; name longer values in [vars]")),
        Some(text) => Ok(text),
        None => {
            let what = item.value.describe();
            let message = format!("`matrix.{name}` holds {what}");
            Err(Problem::at(&item.at, message, "not a string, number or boolean"))
        }
    }
}
