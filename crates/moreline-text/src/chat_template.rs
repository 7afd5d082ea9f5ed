//! A model's own Jinja chat template, rendered as transformers does, with bounds.

use crate::dialogue::Message;
use crate::error::TextError;

/// A parsed chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Parses the template. `bos_token` and `eos_token` are its variables of these names (empty if
    /// the model has none).
    ///
    /// # Errors
    /// A syntax error, with its line.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, TextError> { let _ = (source, bos_token, eos_token); todo!() }

    /// The template's source.
    pub fn source(&self) -> &str { &self.source }

    /// Renders the messages; with `add_generation_prompt` the text ends where the assistant begins.
    ///
    /// # Errors
    /// `raise_exception` called by the template, an undefined operation, or more than the bounded
    /// number of steps.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TextError> { let _ = (messages, add_generation_prompt); todo!() }
}
