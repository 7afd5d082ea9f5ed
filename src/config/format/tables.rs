//! Lines: headers, keys, comments and what is between them.

use toml_edit::{Decor, DocumentMut, Item, RawString, Table};

use super::values;

/// Brings a document into form.
pub(super) fn document(document: &mut DocumentMut) {
    let trailing = comments(text(Some(document.trailing())), true);
    let trailing = trailing.trim_end_matches('\n');
    let trailing = match trailing {
        "" => String::new(),
        some => format!("{some}\n"),
    };
    document.set_trailing(trailing);
    document.as_table_mut().decor_mut().clear();
    body(document.as_table_mut(), &mut false, 0);
}

/// A table with its header.
fn table(table: &mut Table) {
    let before = comments(text(table.decor().prefix()), false);
    let after = trailing_comment(text(table.decor().suffix()));
    *table.decor_mut() = Decor::new(before, after);
    body(table, &mut false, 0);
}

/// The entries of a table. `begun` is false until one was written under the
/// header; `dots` is what stands before their keys.
fn body(table_: &mut Table, begun: &mut bool, dots: usize) {
    for (mut key, item) in table_.iter_mut() {
        let before = comments(text(key.leaf_decor().prefix()), false);
        key.fmt();
        let width = dots + key.display_repr().chars().count();
        match item {
            Item::Table(inner) if inner.is_dotted() => body(inner, begun, width + 1),
            Item::Table(inner) => table(inner),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(table),
            Item::Value(value) => {
                let before = match begun {
                    true => before,
                    false => before.trim_start_matches('\n').to_owned(),
                };
                *begun = true;
                *key.leaf_decor_mut() = Decor::new(before, " ");
                let after = trailing_comment(text(value.decor().suffix()));
                values::value(value, 0, width + " = ".len());
                *value.decor_mut() = Decor::new(" ", after);
            }
            Item::None => {}
        }
    }
}

/// The lines before an entry: its comments, and at most one blank line before
/// each. The last line is what the entry stands on, unless `complete`.
fn comments(raw: &str, complete: bool) -> String {
    let mut lines: Vec<&str> = raw.split('\n').map(str::trim).collect();
    if !complete || lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let mut kept = String::new();
    let mut blank = false;
    for line in lines {
        if !(line.is_empty() && blank) {
            kept.push_str(line);
            kept.push('\n');
        }
        blank = line.is_empty();
    }
    kept
}

/// A comment on an entry's own line, two spaces or more after it.
fn trailing_comment(raw: &str) -> String {
    let comment = raw.trim();
    if comment.is_empty() {
        return String::new();
    }
    let spaces = raw.len() - raw.trim_start_matches(' ').len();
    format!("{}{comment}", " ".repeat(spaces.max(2)))
}

/// The text of a decoration.
pub(super) fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}
