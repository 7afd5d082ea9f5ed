//! `moreline fmt`: one form for experiment and site files.
//!
//! What is changed is white space, quotes, the layout of lists and inline
//! tables, and the end of the file. Comments, the order of keys, and how
//! numbers are written stay.

mod tables;
mod values;

use std::path::{Path, PathBuf};

use toml_edit::DocumentMut;

use super::error::{ConfigErrors, Problem};
use super::parse;
use super::source::{Source, Sources};

/// Columns after which a list is broken into lines.
const WIDTH: usize = 100;

/// A file's text in the one form. `name` is what messages call the file.
///
/// # Errors
/// Text that is not valid TOML: everything the parser finds.
pub fn format(name: &str, text: &str) -> Result<String, ConfigErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut sources = Sources::default();
    let id = sources.add(Source {
        name: name.to_owned(),
        text: text.into(),
        directory: PathBuf::new(),
    });
    let mut problems = Vec::new();
    parse::document(&sources, id, &mut problems);
    if problems.is_empty() {
        match formatted(text) {
            Ok(text) => return Ok(text),
            Err(message) => problems.push(Problem::nowhere(message)),
        }
    }
    let shown = Path::new(name).display().to_string();
    Err(ConfigErrors::new(shown, problems, &sources))
}

fn formatted(text: &str) -> Result<String, String> {
    let unix = text.replace("\r\n", "\n");
    let mut document: DocumentMut = unix.parse().map_err(|error| format!("{error}"))?;
    tables::document(&mut document);
    let result = document.to_string();
    let result = result.trim_start_matches('\n').to_owned();
    // A formatter that changes an experiment would be worse than none.
    if meaning(&unix) != meaning(&result) {
        return Err("it cannot be formatted without changing what it means".into());
    }
    Ok(result)
}

/// What a text means: its values, in a form that can be compared. `None` if it
/// is no TOML.
fn meaning(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    Some(sorted(&toml::Value::Table(table)))
}

/// A value as text, keys in order: dotted keys of one table may move together.
fn sorted(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.iter().map(|(k, v)| format!("{k:?}={}", sorted(v)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        toml::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(sorted).collect();
            format!("[{}]", items.join(","))
        }
        other => format!("{other:?}"),
    }
}
