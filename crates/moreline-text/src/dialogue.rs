//! Messages, and the published dialogue texts they are parsed from.

use serde::{Deserialize, Serialize};

use crate::error::TextError;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions before the dialogue.
    System,
    /// The human.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, without the markers of any form.
    pub content: String,
}

/// Reads a text in the published `\n\nHuman: ...\n\nAssistant: ...` form or the `## Human:` form
/// (recognised by its beginning) into messages. A final assistant marker with nothing after it, as
/// prompts have, gives no message. Contents keep their bytes, so rendering the messages in the same
/// form gives the text back.
///
/// # Errors
/// A text that begins with neither marker.
pub fn parse_dialogue(text: &str) -> Result<Vec<Message>, TextError> { let _ = text; todo!() }

/// Splits the final assistant message off: the prompt's messages and the response.
///
/// # Errors
/// When the last message is not the assistant's, or nothing precedes it.
pub fn split_response(messages: Vec<Message>) -> Result<(Vec<Message>, String), TextError> { let _ = messages; todo!() }
