//! The forms in which messages are fed to a model.

use serde::{Deserialize, Serialize};

use crate::dialogue::Message;
use crate::error::TextError;
use crate::tokenizer::Tokenizer;

/// How messages become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptForm {
    /// The text as it stands: exactly one message, its content is the prompt.
    Raw,
    /// `\n\nHuman: ...\n\nAssistant: ...`, as HH-RLHF is published.
    HumanAssistant,
    /// `## Human:\n...\n\n## Assistant:\n...`, as the DSP and MORE sets are published.
    HashHuman,
    /// The model's own Jinja template.
    Chat,
}

/// The prompt's text, ending where the assistant's words begin (for `human-assistant` after the
/// colon: the space belongs to the response).
///
/// # Errors
/// Roles that the form cannot express, no messages, no or a failing chat template.
pub fn render_prompt(messages: &[Message], form: PromptForm, tokenizer: &Tokenizer) -> Result<String, TextError> { let _ = (messages, form, tokenizer); todo!() }

/// Prompt and response as one text, which always begins with `render_prompt` of the same messages
/// where the form (or the template) allows. A chat template's closing EOS is the last thing in the
/// text: white space that the template writes after it is cut, so that the sequence ends with
/// EOS exactly once.
///
/// # Errors
/// As [`render_prompt`].
pub fn render_full(prompt: &[Message], response: &str, form: PromptForm, tokenizer: &Tokenizer) -> Result<String, TextError> { let _ = (prompt, response, form, tokenizer); todo!() }
