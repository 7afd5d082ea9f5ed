//! TOML text to the spanned document.

use serde_json::Number;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;
use super::node::{Entry, Node, Table, Value};
use super::source::{At, SourceId, Sources};

/// Deepest nesting of tables and lists.
const MAX_DEPTH: usize = 16;

/// Parses a source as a TOML document. Everything the parser finds wrong is
/// added to `problems`; what could be read is returned.
pub(super) fn document(sources: &Sources, id: SourceId, problems: &mut Vec<Problem>) -> Table {
    let text = sources.get(id).text.clone();
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        problems.push(syntax_problem(&error, &text, id));
    }
    Converter { id, problems }.table(table.get_ref(), 0)
}

/// Parses a lone TOML value; nothing if it is not one.
pub(super) fn value(text: &str, id: SourceId, offset: usize) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let mut problems = Vec::new();
    let mut node = Converter {
        id,
        problems: &mut problems,
    }
    .node(&value, 0);
    if !problems.is_empty() {
        return None;
    }
    shift(&mut node, offset);
    Some(node)
}

fn shift(node: &mut Node, offset: usize) {
    node.at.span = node.at.span.start + offset..node.at.span.end + offset;
    match &mut node.value {
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, offset)),
        Value::Table(table) => {
            for entry in &mut table.entries {
                let span = &mut entry.key_at.span;
                *span = span.start + offset..span.end + offset;
                shift(&mut entry.node, offset);
            }
        }
        _ => {}
    }
}

fn syntax_problem(error: &toml::de::Error, text: &str, id: SourceId) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let at = At::new(id, span.start.min(text.len())..span.end.min(text.len()));
    let message = error.message();
    if message.contains("duplicate key") {
        let key = &text[at.span.clone()];
        return Problem::at(&at, format!("`{key}` is set twice"), "the second time")
            .hint("keep one of the two");
    }
    Problem::at(&at, format!("not valid TOML: {message}"), "here")
}

struct Converter<'a> {
    id: SourceId,
    problems: &'a mut Vec<Problem>,
}

impl Converter<'_> {
    fn table(&mut self, table: &DeTable<'_>, depth: usize) -> Table {
        let entries = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                key_at: At::new(self.id, key.span()),
                node: self.node(value, depth + 1),
            })
            .collect();
        Table { entries }
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Node {
        let at = At::new(self.id, value.span());
        let value = if depth > MAX_DEPTH {
            self.problems.push(Problem::at(
                &at,
                format!("nested deeper than {MAX_DEPTH} levels"),
                "too deep",
            ));
            Value::Boolean(false)
        } else {
            self.value(value, &at, depth)
        };
        Node {
            value,
            at,
            base: self.id,
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, at: &At, depth: usize) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(integer) => {
                let digits = integer.as_str();
                let number = i64::from_str_radix(digits, integer.radix())
                    .map(Number::from)
                    .or_else(|_| u64::from_str_radix(digits, integer.radix()).map(Number::from));
                match number {
                    Ok(number) => Value::Number(number, integer.to_string()),
                    Err(_) => {
                        self.problems.push(Problem::at(
                            at,
                            format!("`{integer}` does not fit into 64 bits"),
                            "too large",
                        ));
                        Value::Number(Number::from(0), integer.to_string())
                    }
                }
            }
            DeValue::Float(float) => {
                let text = float.as_str().to_owned();
                match text.parse().ok().and_then(Number::from_f64) {
                    Some(number) => Value::Number(number, text),
                    None => Value::NotFinite,
                }
            }
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.node(item, depth + 1))
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table, depth)),
        }
    }
}
