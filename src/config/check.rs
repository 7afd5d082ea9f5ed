//! A spanned table against the JSON schema of its type: the schema that
//! editors read is what is enforced, bounds included.

use serde_json::Value as Schema;

use super::error::Problem;
use super::node::{Entry, Node, Table, Value};
use super::source::At;
use super::suggest;

/// A table to check.
pub(super) struct Subject<'a> {
    /// What it is called in messages, for example `stage.rm`.
    pub(super) name: &'a str,
    /// What its keys are settings of, for example `train-reward`.
    pub(super) of: &'a str,
    /// Where it starts.
    pub(super) at: &'a At,
}

/// Checks every key and value, and that nothing required is missing.
pub(super) fn table(
    subject: &Subject<'_>,
    table: &Table,
    schema: &Schema,
    problems: &mut Vec<Problem>,
) {
    entries(subject.of, table, schema, problems);
    let required = schema["required"].as_array().into_iter().flatten();
    for key in required.filter_map(Schema::as_str) {
        if table.get(key).is_none() {
            let what = first_line(&schema["properties"][key]["description"]);
            let problem = Problem::at(
                subject.at,
                format!("`{}` needs `{key}`", subject.name),
                format!("`{key}` is missing"),
            );
            problems.push(problem.hint(format!("{key}: {what}")));
        }
    }
}

/// Checks every key and value that is there.
pub(super) fn entries(of: &str, table: &Table, schema: &Schema, problems: &mut Vec<Problem>) {
    for entry in &table.entries {
        match schema["properties"].get(&entry.key) {
            Some(property) => {
                if let Some(problem) = value(&entry.key, &entry.node, property) {
                    problems.push(problem);
                }
            }
            None => problems.push(unknown_key(of, entry, schema)),
        }
    }
}

/// The entries with which nothing is wrong.
pub(super) fn sound(table: &Table, schema: &Schema) -> Table {
    let known = |entry: &&Entry| {
        let property = schema["properties"].get(&entry.key);
        property.is_some_and(|property| value(&entry.key, &entry.node, property).is_none())
            && !matches!(entry.node.value, Value::Unresolved)
    };
    let mut entries: Vec<Entry> = table.entries.iter().filter(known).cloned().collect();
    for entry in &mut entries {
        if let Value::Array(items) = &mut entry.node.value {
            items.retain(|item| !matches!(item.value, Value::Unresolved));
        }
    }
    Table { entries }
}

fn unknown_key(of: &str, entry: &Entry, schema: &Schema) -> Problem {
    let known = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|properties| properties.keys().map(String::as_str));
    Problem::at(
        &entry.key_at,
        format!("`{}` is not a setting of {of}", entry.key),
        "unknown",
    )
    .hint(suggest::hint(&entry.key, known, "settings"))
}

/// What is wrong with one value, if anything.
fn value(key: &str, node: &Node, schema: &Schema) -> Option<Problem> {
    if matches!(node.value, Value::Unresolved) {
        return None;
    }
    if let Some(branches) = schema["anyOf"].as_array() {
        let branches: Vec<&Schema> = branches.iter().filter(|b| b["type"] != "null").collect();
        return match branches.iter().find(|branch| type_fits(node, branch)) {
            Some(branch) => value(key, node, branch),
            None if branches.len() == 1 => value(key, node, branches[0]),
            None => Some(wrong_type(key, node, schema)),
        };
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        return choice(key, node, &choices, schema);
    }
    if !type_fits(node, schema) {
        return Some(wrong_type(key, node, schema));
    }
    match &node.value {
        Value::Number(number, text) => bounds(key, node, schema, number.as_f64()?, text),
        Value::Array(items) => list(key, node, items, schema),
        Value::Table(inner) => nested(key, node, inner, schema),
        _ => None,
    }
}

/// The first thing wrong with a setting that is a table.
fn nested(key: &str, node: &Node, inner: &Table, schema: &Schema) -> Option<Problem> {
    let of_any_name = &schema["additionalProperties"];
    // Tables of tables have checks of their own.
    if of_any_name.is_object() && of_any_name["properties"].is_null() {
        let named = |entry: &Entry| format!("{key}.{}", entry.key);
        let mut entries = inner.entries.iter();
        return entries.find_map(|entry| value(&named(entry), &entry.node, of_any_name));
    }
    schema["properties"].as_object()?;
    let subject = Subject {
        name: key,
        of: &format!("`{key}`"),
        at: &node.at,
    };
    let mut problems = Vec::new();
    table(&subject, inner, schema, &mut problems);
    problems.into_iter().next()
}

fn choice(key: &str, node: &Node, choices: &[&str], schema: &Schema) -> Option<Problem> {
    let Some(text) = node.as_str() else {
        return Some(wrong_type(key, node, schema));
    };
    if choices.contains(&text) {
        return None;
    }
    let problem = Problem::at(
        &node.at,
        format!("`{key}` cannot be `{text}`"),
        "not one of its values",
    );
    Some(problem.hint(suggest::hint(text, choices.iter().copied(), "values")))
}

fn list(key: &str, node: &Node, items: &[Node], schema: &Schema) -> Option<Problem> {
    let length = items.len() as u64;
    if length == 0 && schema["minItems"].as_u64() > Some(0) {
        return Some(
            Problem::at(&node.at, format!("`{key}` is empty"), "nothing here")
                .hint("name at least one"),
        );
    }
    let fits = schema["minItems"].as_u64().is_none_or(|min| length >= min)
        && schema["maxItems"].as_u64().is_none_or(|max| length <= max);
    if !fits {
        let wanted = schema["minItems"].as_u64().unwrap_or_default();
        return Some(Problem::at(
            &node.at,
            format!("`{key}` takes {wanted} values, not {length}"),
            "this list",
        ));
    }
    items
        .iter()
        .find_map(|item| value(key, item, &schema["items"]))
}

fn bounds(key: &str, node: &Node, schema: &Schema, number: f64, text: &str) -> Option<Problem> {
    let bound = |name: &str| schema[name].as_f64();
    let largest = bound("maximum").or(match schema["format"].as_str() {
        Some("uint32") => Some(f64::from(u32::MAX)),
        _ => None,
    });
    let wanted = if let Some(min) = bound("minimum").filter(|min| number < *min) {
        format!("at least {min}")
    } else if let Some(min) = bound("exclusiveMinimum").filter(|min| number <= *min) {
        format!("greater than {min}")
    } else if let Some(max) = largest.filter(|max| number > *max) {
        format!("at most {max}")
    } else {
        return None;
    };
    Some(Problem::at(
        &node.at,
        format!("`{key}` must be {wanted}"),
        format!("this is {text}"),
    ))
}

fn wrong_type(key: &str, node: &Node, schema: &Schema) -> Problem {
    let what = node.value.describe();
    let problem = Problem::at(
        &node.at,
        format!("`{key}` takes {}, but this is {what}", describe(schema)),
        what,
    );
    match (&node.value, describe(schema).as_str()) {
        (Value::String(text), "a number" | "an integer" | "a boolean")
            if !text.is_empty() && text.parse::<f64>().is_ok() | text.parse::<bool>().is_ok() =>
        {
            problem.hint(format!("leave the quotes out: {key} = {text}"))
        }
        (Value::Number(_, text), wanted)
            if wanted.starts_with("a name") || wanted == "a string" =>
        {
            problem.hint(format!("put it in quotes: {key} = \"{text}\""))
        }
        _ => problem,
    }
}

fn types(schema: &Schema) -> Vec<&str> {
    match &schema["type"] {
        Schema::String(one) => vec![one],
        Schema::Array(many) => many
            .iter()
            .filter_map(Schema::as_str)
            .filter(|name| *name != "null")
            .collect(),
        _ => Vec::new(),
    }
}

fn type_fits(node: &Node, schema: &Schema) -> bool {
    if !choices(schema).is_empty() {
        return matches!(node.value, Value::String(_));
    }
    types(schema).into_iter().any(|name| match &node.value {
        Value::String(_) => name == "string",
        Value::Number(number, _) => name == "number" || name == "integer" && !number.is_f64(),
        Value::Boolean(_) => name == "boolean",
        Value::Array(_) => name == "array",
        Value::Table(_) => name == "object",
        Value::Unresolved => true,
        Value::NotFinite | Value::Datetime => false,
    })
}

/// The strings an enumeration allows.
fn choices(schema: &Schema) -> Vec<&str> {
    let mut found: Vec<&str> = schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Schema::as_str)
        .collect();
    found.extend(schema["const"].as_str());
    for branch in schema["oneOf"].as_array().into_iter().flatten() {
        found.extend(choices(branch));
    }
    found
}

/// What a schema takes, in words.
fn describe(schema: &Schema) -> String {
    if let Some(branches) = schema["anyOf"].as_array() {
        let branches: Vec<String> = branches
            .iter()
            .filter(|branch| branch["type"] != "null")
            .map(describe)
            .collect();
        if branches == ["a string", "a list of strings"] {
            return "a name or a list of names".into();
        }
        return branches.join(" or ");
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        return format!("one of {}", suggest::list(&choices));
    }
    match types(schema).first().copied() {
        Some("string") => "a string".into(),
        Some("number") => "a number".into(),
        Some("integer") => "an integer".into(),
        Some("boolean") => "a boolean".into(),
        Some("array") => match types(&schema["items"]).first().copied() {
            Some("string") => "a list of strings".into(),
            _ => "a list of numbers".into(),
        },
        _ => "a table".into(),
    }
}

fn first_line(description: &Schema) -> &str {
    description
        .as_str()
        .and_then(|text| text.lines().next())
        .unwrap_or_default()
}
