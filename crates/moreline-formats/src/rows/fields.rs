//! Reading the fields of a row, with reasons a person can act on.

use moreline_protocol::rows::Message;
use serde_json::{Map, Value};

/// What is wrong with a row, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What is wrong.
    pub text: String,
    /// The way out, where there is one to name.
    pub hint: Option<String>,
}

impl Reason {
    /// A reason without a hint.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
        }
    }

    /// The same reason with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// The fields of a row that must be an object.
pub(crate) fn object(value: Value) -> Result<Map<String, Value>, Reason> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(Reason::new(format!(
            "a row must be an object, this is {}",
            describe(&other)
        ))),
    }
}

/// A row whose fields match none of `forms`.
pub(crate) fn unknown_form(fields: &Map<String, Value>, forms: &str) -> Reason {
    let seen: Vec<_> = fields.keys().map(|key| format!("`{key}`")).collect();
    let seen = if seen.is_empty() {
        "no field at all".to_owned()
    } else {
        format!("the fields {}", seen.join(", "))
    };
    Reason::new(format!("unknown form: it has {seen}")).hint(format!("known forms: {forms}"))
}

/// A JSON value in words: `the string "1.0"`, `null`, `a list of 3`.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => {
            let shown: String = text.chars().take(24).collect();
            let more = if shown.len() < text.len() { ".." } else { "" };
            format!("the string {shown:?}{more}")
        }
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".into(),
    }
}

/// A text that is not blank.
pub(crate) fn text(name: &str, value: Value) -> Result<String, Reason> {
    let text = string(name, value)?;
    if text.trim().is_empty() {
        return Err(Reason::new(format!("{name} is empty")));
    }
    Ok(text)
}

/// A text, which may be blank.
pub(crate) fn string(name: &str, value: Value) -> Result<String, Reason> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Reason::new(format!(
            "{name} must be a string, it is {}",
            describe(&other)
        ))),
    }
}

/// A list of texts, none of them blank.
pub(crate) fn texts(name: &str, value: Value) -> Result<Vec<String>, Reason> {
    list(name, value)?
        .into_iter()
        .enumerate()
        .map(|(at, item)| text(&format!("item {} of `{name}`", at + 1), item))
        .collect()
}

/// A list of finite numbers.
pub(crate) fn scores(name: &str, value: Value) -> Result<Vec<f64>, Reason> {
    list(name, value)?
        .iter()
        .enumerate()
        .map(|(at, item)| number(&format!("item {} of `{name}`", at + 1), item))
        .collect()
}

/// A finite number.
pub(crate) fn number(name: &str, value: &Value) -> Result<f64, Reason> {
    match value.as_f64() {
        Some(number) if number.is_finite() => Ok(number),
        _ => Err(Reason::new(format!(
            "{name} must be a finite number, it is {}",
            describe(value)
        ))),
    }
}

/// A list of anything.
pub(crate) fn list(name: &str, value: Value) -> Result<Vec<Value>, Reason> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(Reason::new(format!(
            "`{name}` must be a list, it is {}",
            describe(&other)
        ))),
    }
}

/// A conversation given as messages or as one string of the user's.
pub(crate) fn prompt(name: &str, value: Value) -> Result<Vec<Message>, Reason> {
    if let Value::Array(_) = value {
        let messages = messages(name, value)?;
        return match messages.last() {
            Some(last) if last.role == "user" => Ok(messages),
            Some(last) => Err(Reason::new(format!(
                "`{name}` must end with a user message, it ends with one of the {}",
                last.role
            ))),
            None => Err(Reason::new(format!("`{name}` is empty"))),
        };
    }
    text(&format!("`{name}`"), value).map(|text| vec![Message::user(text)])
}

/// Messages of known roles, not all of them blank.
pub(crate) fn messages(name: &str, value: Value) -> Result<Vec<Message>, Reason> {
    let messages: Vec<_> = list(name, value)?
        .into_iter()
        .enumerate()
        .map(|(at, item)| message(&format!("message {} of `{name}`", at + 1), item))
        .collect::<Result<_, _>>()?;
    if messages.iter().all(|m| m.content.trim().is_empty()) {
        return Err(Reason::new(format!("`{name}` is empty")));
    }
    Ok(messages)
}

fn message(name: &str, value: Value) -> Result<Message, Reason> {
    let field = |key: &str| match value.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(Reason::new(format!(
            "`{key}` of {name} must be a string, it is {}",
            describe(other)
        ))),
        None => Err(Reason::new(format!("{name} has no `{key}`"))
            .hint("a message is {\"role\": \"user\", \"content\": \"..\"}")),
    };
    let (role, content) = (field("role")?, field("content")?);
    if !["system", "user", "assistant"].contains(&role.as_str()) {
        return Err(Reason::new(format!("{name} has the unknown role `{role}`"))
            .hint("the roles are `system`, `user` and `assistant`"));
    }
    Ok(Message { role, content })
}
