//! Typed access to the keys of a JSON object, with errors that name them.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::FormatError;

/// An object, the file it is from, and how its keys are called in errors.
pub(super) struct Keys<'a> {
    map: &'a Map<String, Value>,
    path: &'a Path,
    prefix: String,
}

impl<'a> Keys<'a> {
    pub(super) fn new(map: &'a Map<String, Value>, path: &'a Path) -> Self {
        Self {
            map,
            path,
            prefix: String::new(),
        }
    }

    /// The object under `key`; `empty` if it is absent or null.
    pub(super) fn nested(
        outer: &Keys<'a>,
        key: &str,
        empty: &'a Map<String, Value>,
    ) -> Result<Self, FormatError> {
        let map = match outer.get(key) {
            None => empty,
            Some(Value::Object(map)) => map,
            Some(_) => return Err(outer.error(key, "it should be an object")),
        };
        Ok(Self {
            map,
            path: outer.path,
            prefix: format!("{key}."),
        })
    }

    /// The value, null counting as absent.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub(super) fn present(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether the key is not even there as null.
    pub(super) fn absent(&self, key: &str) -> bool {
        !self.map.contains_key(key)
    }

    pub(super) fn error(&self, key: &str, reason: impl Into<String>) -> FormatError {
        FormatError::key(self.path, &format!("{}{key}", self.prefix), reason)
    }

    pub(super) fn unsupported(&self, key: &str, reason: impl Into<String>) -> FormatError {
        let value = self
            .get(key)
            .map_or("(absent)".to_owned(), Value::to_string);
        FormatError::unsupported(self.path, &format!("{}{key}", self.prefix), value, reason)
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let wrong = || self.error(key, format!("it is {value}, it should be {expected}"));
        convert(value).map(Some).ok_or_else(wrong)
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<&'a str>, FormatError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, FormatError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>, FormatError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<usize>, FormatError> {
        let convert = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        self.typed(key, "a whole number", convert)
    }

    pub(super) fn required(&self, key: &str) -> Result<usize, FormatError> {
        self.size(key)?
            .ok_or_else(|| self.error(key, "it is missing"))
    }

    pub(super) fn required_float(&self, key: &str) -> Result<f64, FormatError> {
        self.float(key)?
            .ok_or_else(|| self.error(key, "it is missing"))
    }

    /// One token id or a list of them. A negative id means none, as some old files have it.
    pub(super) fn tokens(&self, key: &str) -> Result<Vec<u32>, FormatError> {
        let one = |v: &Value| match v.as_i64() {
            Some(id) if id < 0 => Some(None),
            Some(id) => u32::try_from(id).ok().map(Some),
            None => None,
        };
        let convert = |v: &Value| match v {
            Value::Array(ids) => ids.iter().map(one).collect::<Option<Vec<_>>>(),
            id => one(id).map(|id| vec![id]),
        };
        let ids = self.typed(key, "a token id or a list of them", convert)?;
        Ok(ids.unwrap_or_default().into_iter().flatten().collect())
    }
}
