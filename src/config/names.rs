//! Names of models, sets, variables and stages.

use moreline_protocol::spec::StageKind;

use super::error::Problem;
use super::node::{Entry, Node, Table};
use super::source::At;

/// Longest name in bytes.
const MAX_LENGTH: usize = 64;

/// What is wrong with a name, if anything.
pub(super) fn problem(name: &str, at: &At) -> Option<Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(fits) {
        return Some(
            Problem::at(at, format!("`{name}` is not a name"), "here")
                .hint("names are made of letters, digits, `_` and `-`"),
        );
    }
    (name.len() > MAX_LENGTH).then(|| {
        Problem::at(at, format!("`{name}` is too long a name"), "here")
            .hint(format!("names have at most {MAX_LENGTH} characters"))
    })
}

/// The entries of a table of named tables; entries that are none are reported.
pub(super) fn tables<'a>(
    document: &'a Table,
    top: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(&'a Entry, &'a Table)> {
    let Some(node) = document.get(top) else {
        return Vec::new();
    };
    let Some(table) = node.as_table() else {
        problems.push(not_a_table(top, node));
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in &table.entries {
        problems.extend(problem(&entry.key, &entry.key_at));
        match entry.node.as_table() {
            Some(inner) => found.push((entry, inner)),
            None => problems.push(not_a_table(&format!("{top}.NAME"), &entry.node)),
        }
    }
    found
}

/// A reference to a stage, and what follows its name: nothing, or what starts
/// with `@`.
pub(super) fn at_step(reference: &str) -> (&str, &str) {
    reference.split_at(reference.find('@').unwrap_or(reference.len()))
}

/// A reference to a stage without what names an intermediate model.
pub(super) fn without_step(reference: &str) -> &str {
    at_step(reference).0
}

/// "a train-reward stage".
pub(super) fn a_stage(kind: StageKind) -> String {
    let article = match kind {
        StageKind::EvaluateReward | StageKind::Import | StageKind::Sft => "an",
        _ => "a",
    };
    format!("{article} {} stage", kind.name())
}

/// A value where a table is due.
pub(super) fn not_a_table(name: &str, node: &Node) -> Problem {
    let what = node.value.describe();
    Problem::at(
        &node.at,
        format!("`{name}` is a table, but this is {what}"),
        what,
    )
    .hint(format!("write [{name}] on a line of its own"))
}
