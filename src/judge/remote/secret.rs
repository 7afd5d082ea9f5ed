//! A key that shows itself to nobody but the endpoint.

use std::fmt;

/// An API key. Prints as `***`.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// A key, without the white space around it.
    pub(crate) fn new(value: impl AsRef<str>) -> Self {
        Self(value.as_ref().trim().to_owned())
    }

    /// The value of an `Authorization` header.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text with the key taken out.
    pub(crate) fn scrub(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
