//! Values: strings, lists and inline tables.

use toml_edit::{Array, Decor, InlineTable, Value};

use super::WIDTH;
use super::tables::text;

const INDENT: usize = 4;

/// Brings a value into form. `indent` is how far its line is indented, `column`
/// where it starts. What surrounds it is the caller's.
pub(super) fn value(value: &mut Value, indent: usize, column: usize) {
    match value {
        Value::String(string) => {
            let plain = |c: char| !c.is_control() && c != '"' && c != '\\';
            let repr = string.display_repr().into_owned();
            let literal = repr.starts_with('\'') && !repr.starts_with("'''");
            if literal && string.value().chars().all(plain) {
                string.fmt();
            }
        }
        Value::Array(items) => array(items, indent, column),
        Value::InlineTable(table) => inline_table(table),
        _ => {}
    }
}

/// A list: on one line if it fits and has no comments.
fn array(array: &mut Array, indent: usize, column: usize) {
    hand_over_last_comment(array);
    let odd = array
        .iter()
        .any(|item| has_comments(item) || text(item.decor().suffix()).contains('#'));
    if odd {
        return; // where such comments belong, nobody can tell
    }
    let commented = array
        .iter()
        .any(|item| text(item.decor().prefix()).contains('#'))
        || text(Some(array.trailing())).contains('#');
    if !commented {
        one_line(array);
        let length = array.to_string().trim().chars().count();
        if column + length <= WIDTH || array.is_empty() {
            return;
        }
    }
    in_lines(array, indent);
}

/// Without a comma after it, the last item owns the comment that ends its line.
fn hand_over_last_comment(array: &mut Array) {
    if array.trailing_comma() {
        return;
    }
    let trailing = text(Some(array.trailing())).to_owned();
    let Some(last) = array.iter_mut().last() else {
        return;
    };
    let suffix = text(last.decor().suffix()).to_owned();
    last.decor_mut().set_suffix("");
    array.set_trailing(format!("{suffix}{trailing}"));
}

fn one_line(array: &mut Array) {
    for (index, item) in array.iter_mut().enumerate() {
        value(item, 0, 0);
        let before = if index == 0 { "" } else { " " };
        *item.decor_mut() = Decor::new(before, "");
    }
    array.set_trailing("");
    array.set_trailing_comma(false);
}

fn in_lines(array: &mut Array, indent: usize) {
    let inner = indent + INDENT;
    for item in array.iter_mut() {
        let before = between(text(item.decor().prefix()), inner, inner);
        value(item, inner, inner + 1);
        *item.decor_mut() = Decor::new(before, "");
    }
    let trailing = between(text(Some(array.trailing())), inner, indent);
    array.set_trailing(trailing);
    array.set_trailing_comma(!array.is_empty());
}

/// What stands between two items: the comment on the line of the one before,
/// comments on lines of their own, and the line's end.
fn between(raw: &str, comments: usize, end: usize) -> String {
    let mut lines = raw.split('\n').map(str::trim);
    let mut kept = match lines.next() {
        None | Some("") => String::new(),
        Some(comment) => format!("  {comment}"),
    };
    for comment in lines.filter(|line| !line.is_empty()) {
        kept.push_str(&format!("\n{}{comment}", " ".repeat(comments)));
    }
    kept.push_str(&format!("\n{}", " ".repeat(end)));
    kept
}

/// A table on one line; one with comments stays as it is.
fn inline_table(table: &mut InlineTable) {
    if table_has_comments(table) {
        return;
    }
    inline_entries(table, true);
    table.set_trailing("");
    table.set_trailing_comma(false);
}

/// The entries of a table; `ends` if its last one is the last before the brace.
fn inline_entries(table: &mut InlineTable, ends: bool) {
    let count = table.len();
    for (index, (mut key, item)) in table.iter_mut().enumerate() {
        let last = ends && index + 1 == count;
        key.fmt();
        match item {
            Value::InlineTable(inner) if inner.is_dotted() => inline_entries(inner, last),
            item => {
                *key.leaf_decor_mut() = Decor::new(" ", " ");
                value(item, 0, 0);
                *item.decor_mut() = Decor::new(" ", if last { " " } else { "" });
            }
        }
    }
}

/// True if there are comments inside a value.
fn has_comments(value: &Value) -> bool {
    match value {
        Value::Array(array) => {
            let around = |item: &Value| {
                let decor = item.decor();
                text(decor.prefix()).contains('#') || text(decor.suffix()).contains('#')
            };
            text(Some(array.trailing())).contains('#')
                || array.iter().any(|item| around(item) || has_comments(item))
        }
        Value::InlineTable(table) => table_has_comments(table),
        _ => false,
    }
}

fn table_has_comments(table: &InlineTable) -> bool {
    let around =
        |decor: &Decor| text(decor.prefix()).contains('#') || text(decor.suffix()).contains('#');
    let in_entry = |(path, value): (Vec<&toml_edit::Key>, &Value)| {
        let keys = |key: &&toml_edit::Key| around(key.leaf_decor()) || around(key.dotted_decor());
        path.iter().any(keys) || around(value.decor()) || has_comments(value)
    };
    text(Some(table.trailing())).contains('#') || table.get_values().into_iter().any(in_entry)
}
