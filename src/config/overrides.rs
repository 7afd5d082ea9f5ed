//! `--set path=value` on top of the file.

use std::path::Path;

use super::error::Problem;
use super::node::{Entry, Node, Table, Value};
use super::parse;
use super::source::{At, Source, SourceId, Sources};
use super::suggest;

/// Tables that `--set` reaches into, and the number of names in a full path.
const TABLES: [(&str, usize); 9] = [
    ("title", 1),
    ("vars", 2),
    ("matrix", 2),
    ("defaults", 3),
    ("model", 3),
    ("data", 3),
    ("prompts", 3),
    ("responses", 3),
    ("stage", 3),
];

/// Lays every `--set` over the document, the last one winning. Relative paths
/// in their values start from `directory`.
pub(super) fn apply(
    document: &mut Table,
    set: &[(String, String)],
    directory: &Path,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) {
    for (path, value) in set {
        let id = sources.add(Source {
            name: "--set".into(),
            text: format!("{path}={value}").into(),
            directory: directory.to_path_buf(),
        });
        let node = parse::value(value, id, path.len() + 1)
            .unwrap_or_else(|| text_node(value, id, path.len() + 1));
        let segments: Vec<(usize, &str)> = segments(path);
        match target_problem(document, &segments, id) {
            Some(problem) => problems.push(problem),
            None => insert(document, &segments, id, node),
        }
    }
}

fn text_node(value: &str, id: SourceId, offset: usize) -> Node {
    Node {
        value: Value::String(value.to_owned()),
        at: At::new(id, offset..offset + value.len()),
        base: id,
    }
}

/// The names of a dotted path with their offsets.
fn segments(path: &str) -> Vec<(usize, &str)> {
    let mut offset = 0;
    path.split('.')
        .map(|name| {
            let start = offset;
            offset += name.len() + 1;
            (start, name)
        })
        .collect()
}

fn target_problem(document: &Table, segments: &[(usize, &str)], id: SourceId) -> Option<Problem> {
    let at = |index: usize| {
        let (start, name) = segments[index];
        At::new(id, start..start + name.len())
    };
    let top = segments[0].1;
    let Some((_, depth)) = TABLES.iter().find(|(name, _)| *name == top) else {
        let names = TABLES.map(|(name, _)| name);
        return Some(
            Problem::at(&at(0), format!("there is no table `{top}`"), "unknown")
                .hint(suggest::hint(top, names, "tables")),
        );
    };
    // A stage's setting may itself be a table: stage.rm.lora.rank.
    let depths = *depth..=depth + usize::from(matches!(top, "stage" | "defaults"));
    if !depths.contains(&segments.len()) || segments.iter().any(|(_, name)| name.is_empty()) {
        let form = match depth {
            1 => format!("{top}=VALUE"),
            2 => format!("{top}.NAME=VALUE"),
            _ => format!("{top}.NAME.SETTING=VALUE"),
        };
        return Some(
            Problem::at(&at(0), "not a path to one setting", "this path")
                .hint(format!("write --set {form}")),
        );
    }
    if matches!(top, "title" | "vars" | "defaults") {
        return None;
    }
    let table = document.get(top).and_then(Node::as_table);
    let name = segments[1].1;
    if table.is_some_and(|table| table.get(name).is_some()) {
        return None;
    }
    let known = table.into_iter().flat_map(Table::keys);
    Some(
        Problem::at(
            &at(1),
            format!("the experiment has no `{top}.{name}`"),
            "unknown",
        )
        .hint(suggest::hint(name, known, "names")),
    )
}

fn insert(document: &mut Table, segments: &[(usize, &str)], id: SourceId, node: Node) {
    let Some(((start, name), outer)) = segments.split_last() else {
        return;
    };
    let mut layered = single(name, *start, id, node);
    for (start, name) in outer.iter().rev() {
        let at = At::new(id, *start..*start + name.len());
        let inner = Node {
            value: Value::Table(layered),
            at,
            base: id,
        };
        layered = single(name, *start, id, inner);
    }
    document.merge(layered);
}

fn single(name: &str, start: usize, id: SourceId, node: Node) -> Table {
    Table {
        entries: vec![Entry {
            key: name.to_owned(),
            key_at: At::new(id, start..start + name.len()),
            node,
        }],
    }
}
