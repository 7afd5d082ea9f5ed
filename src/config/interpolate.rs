//! `${vars.NAME}` and `${matrix.NAME}` in strings.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::error::Problem;
use super::node::{Entry, Node, Table, Value};
use super::suggest;

/// What references mean at some place of the document.
pub(super) struct Scope<'a> {
    /// The `[vars]` table.
    pub(super) vars: &'a Table,
    /// Matrix variables and their values here.
    pub(super) cell: &'a [(&'a str, &'a Node)],
    /// Names of all matrix variables, for messages.
    pub(super) axes: &'a [&'a str],
    /// Collects the variables that were used.
    pub(super) used: &'a RefCell<BTreeSet<String>>,
}

/// A piece of a string.
enum Piece<'a> {
    Text(String),
    Reference(&'a str),
}

/// The names of the matrix variables a value refers to, also through `vars`.
pub(super) fn matrix_names(node: &Node, vars: &Table) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect_matrix_names(node, vars, &mut names, &mut Vec::new());
    names
}

fn collect_matrix_names<'a>(
    node: &Node,
    vars: &'a Table,
    names: &mut BTreeSet<String>,
    stack: &mut Vec<&'a str>,
) {
    match &node.value {
        Value::String(text) => {
            for piece in split(text).unwrap_or_default() {
                let Piece::Reference(reference) = piece else {
                    continue;
                };
                if let Some(name) = reference.strip_prefix("matrix.") {
                    names.insert(name.to_owned());
                } else if let Some(entry) = reference
                    .strip_prefix("vars.")
                    .and_then(|name| vars.entry(name))
                    && !stack.contains(&entry.key.as_str())
                {
                    stack.push(&entry.key);
                    collect_matrix_names(&entry.node, vars, names, stack);
                    stack.pop();
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_matrix_names(item, vars, names, stack);
            }
        }
        Value::Table(table) => {
            for entry in &table.entries {
                collect_matrix_names(&entry.node, vars, names, stack);
            }
        }
        _ => {}
    }
}

impl Scope<'_> {
    /// The value with every reference replaced.
    pub(super) fn node(&self, node: &Node, problems: &mut Vec<Problem>) -> Node {
        self.resolve(node, problems, &mut Vec::new())
    }

    /// The table with every reference in its values replaced.
    pub(super) fn table(&self, table: &Table, problems: &mut Vec<Problem>) -> Table {
        let entries = table
            .entries
            .iter()
            .map(|entry| Entry {
                node: self.node(&entry.node, problems),
                ..entry.clone()
            })
            .collect();
        Table { entries }
    }

    fn resolve(&self, node: &Node, problems: &mut Vec<Problem>, stack: &mut Vec<String>) -> Node {
        let mut result = node.clone();
        match &node.value {
            Value::String(text) if text.contains("${") => {
                return self.string(node, text, problems, stack);
            }
            Value::Array(items) => {
                result.value = Value::Array(
                    items
                        .iter()
                        .map(|item| self.resolve(item, problems, stack))
                        .collect(),
                );
            }
            Value::Table(table) => {
                let mut table = table.clone();
                for entry in &mut table.entries {
                    entry.node = self.resolve(&entry.node, problems, stack);
                }
                result.value = Value::Table(table);
            }
            _ => {}
        }
        result
    }

    fn string(
        &self,
        node: &Node,
        text: &str,
        problems: &mut Vec<Problem>,
        stack: &mut Vec<String>,
    ) -> Node {
        let mut result = node.clone();
        let pieces = match split(text) {
            Ok(pieces) => pieces,
            Err(message) => {
                problems.push(
                    Problem::at(&node.at, message, "in this string")
                        .hint("write ${vars.NAME}, or $${ for the characters ${ themselves"),
                );
                result.value = Value::Unresolved;
                return result;
            }
        };
        if let [Piece::Reference(reference)] = pieces.as_slice() {
            match self.lookup(reference, node, problems, stack) {
                Some(found) => {
                    result.value = found.value;
                    result.base = found.base;
                }
                None => result.value = Value::Unresolved,
            }
            return result;
        }
        let mut joined = String::new();
        let mut complete = true;
        for (index, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Text(text) => joined.push_str(text),
                Piece::Reference(reference) => {
                    let Some(found) = self.lookup(reference, node, problems, stack) else {
                        complete = false;
                        continue;
                    };
                    if index == 0 {
                        result.base = found.base;
                    }
                    match found.value.scalar_text() {
                        Some(text) => joined.push_str(&text),
                        None => {
                            complete = false;
                            problems.extend(not_text(node, reference, &found));
                        }
                    }
                }
            }
        }
        result.value = if complete {
            Value::String(joined)
        } else {
            Value::Unresolved
        };
        result
    }

    fn lookup(
        &self,
        reference: &str,
        node: &Node,
        problems: &mut Vec<Problem>,
        stack: &mut Vec<String>,
    ) -> Option<Node> {
        if let Some(name) = reference.strip_prefix("matrix.") {
            let found = self.cell.iter().find(|(axis, _)| *axis == name);
            if found.is_none() {
                problems.push(self.no_axis(name, node));
            }
            return found.map(|(_, value)| (*value).clone());
        }
        let Some(name) = reference.strip_prefix("vars.") else {
            problems.push(
                Problem::at(
                    &node.at,
                    format!("`${{{reference}}}` means nothing"),
                    "in this string",
                )
                .hint("references are ${vars.NAME} and ${matrix.NAME}"),
            );
            return None;
        };
        self.used.borrow_mut().insert(name.to_owned());
        let Some(variable) = self.vars.get(name) else {
            problems.push(self.no_variable(name, node));
            return None;
        };
        if stack.iter().any(|earlier| earlier == name) {
            let mut circle = stack.clone();
            circle.push(name.to_owned());
            let message = format!("variables refer to each other: {}", circle.join(" -> "));
            problems.push(Problem::at(&variable.at, message, "in a circle"));
            return None;
        }
        stack.push(name.to_owned());
        let found = self.resolve(variable, problems, stack);
        stack.pop();
        Some(found)
    }

    fn no_variable(&self, name: &str, node: &Node) -> Problem {
        let hint = match suggest::closest(name, self.vars.keys()) {
            Some(candidate) => format!("did you mean `${{vars.{candidate}}}`?"),
            None => format!("add it to [vars], or pass --set vars.{name}=VALUE"),
        };
        Problem::at(
            &node.at,
            format!("there is no variable `{name}`"),
            "in this string",
        )
        .hint(hint)
    }

    fn no_axis(&self, name: &str, node: &Node) -> Problem {
        if self.axes.contains(&name) {
            return Problem::at(
                &node.at,
                format!("`${{matrix.{name}}}` is used outside a stage"),
                "in this string",
            )
            .hint("only stages are multiplied by the matrix; refer to it in a stage");
        }
        Problem::at(
            &node.at,
            format!("the matrix has no `{name}`"),
            "in this string",
        )
        .hint(suggest::hint(
            name,
            self.axes.iter().copied(),
            "matrix variables",
        ))
    }
}

/// What to say of a value that is no text; nothing if it was reported already.
fn not_text(node: &Node, reference: &str, found: &Node) -> Option<Problem> {
    if matches!(found.value, Value::Unresolved) {
        return None;
    }
    let what = found.value.describe();
    let problem = Problem::at(
        &node.at,
        format!("`${{{reference}}}` is {what} and cannot be part of a string"),
        "in this string",
    );
    Some(problem.hint(format!("use it alone: \"${{{reference}}}\"")))
}

/// Splits a string into text and references; `$${` stands for `${`.
fn split(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        let after = &rest[start + 2..];
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str("${");
            rest = after;
            continue;
        }
        let Some(end) = after.find('}') else {
            return Err("`${` without a closing `}`".into());
        };
        plain.push_str(before);
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Reference(after[..end].trim()));
        rest = &after[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}
