//! A place in a file, for people and scripts.

use serde::{Deserialize, Serialize};

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as it was named; `--set` for a setting of the command line.
    pub file: String,
    /// Line, from 1; absent if the whole file is meant.
    pub line: Option<u64>,
    /// Column, from 1, if it is known.
    pub column: Option<u64>,
}

impl Place {
    /// A file as a whole.
    pub fn file(name: impl Into<String>) -> Self {
        Self {
            file: name.into(),
            line: None,
            column: None,
        }
    }

    /// The place of byte `offset` of a text; columns count characters.
    pub(super) fn in_text(name: &str, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count();
        let column = before.chars().rev().take_while(|c| *c != '\n').count();
        Self {
            file: name.to_owned(),
            line: Some(1 + line as u64),
            column: Some(1 + column as u64),
        }
    }
}
