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

impl Message {
    /// The human's turn.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: Role::User,
            content: content.into(),
        }
    }

    /// The model's turn.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self {
            role: Role::Assistant,
            content: content.into(),
        }
    }
}

/// What a text form writes before a turn, and between that and the turn's words.
pub(crate) struct Markers {
    pub(crate) human: &'static str,
    pub(crate) assistant: &'static str,
    pub(crate) gap: &'static str,
}

/// HH-RLHF's form.
pub(crate) const HUMAN_ASSISTANT: Markers = Markers {
    human: "\n\nHuman:",
    assistant: "\n\nAssistant:",
    gap: " ",
};

/// The DSP and MORE sets' form; the text's own beginning has no empty lines before the marker.
pub(crate) const HASH_HUMAN: Markers = Markers {
    human: "\n\n## Human:",
    assistant: "\n\n## Assistant:",
    gap: "\n",
};

/// Reads a text in the published `\n\nHuman: ...\n\nAssistant: ...` form or the `## Human:` form
/// (recognised by its beginning) into messages. A final assistant marker with nothing but white
/// space after it, as prompts have, gives no message. Contents keep their bytes: where every marker
/// is followed by its space (or newline), rendering the messages in the same form gives the text
/// back.
///
/// # Errors
/// A text that begins with neither marker.
pub fn parse_dialogue(text: &str) -> Result<Vec<Message>, TextError> {
    if text.starts_with(HUMAN_ASSISTANT.human) {
        Ok(parse(text, &HUMAN_ASSISTANT))
    } else if text.starts_with(HASH_HUMAN.human.trim_start()) {
        Ok(parse(&format!("\n\n{text}"), &HASH_HUMAN))
    } else {
        let beginning: String = text.chars().take(40).collect();
        Err(TextError::Dialogue {
            reason: format!(
                "it begins with {beginning:?}, neither with {:?} nor with \"## Human:\"; use the \
                 form `raw` for other texts",
                HUMAN_ASSISTANT.human
            ),
        })
    }
}

fn parse(text: &str, markers: &Markers) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = text;
    while let Some((role, after)) = marker(rest, markers) {
        let end = next_marker(after, markers);
        let (content, following) = after.split_at(end);
        rest = following;
        let prompt_ends = rest.is_empty() && role == Role::Assistant && content.trim().is_empty();
        if !prompt_ends {
            let content = content.strip_prefix(markers.gap).unwrap_or(content);
            messages.push(Message {
                role,
                content: content.to_owned(),
            });
        }
    }
    messages
}

/// The role of the marker that the text begins with, and what follows it.
fn marker<'a>(text: &'a str, markers: &Markers) -> Option<(Role, &'a str)> {
    let human = text
        .strip_prefix(markers.human)
        .map(|after| (Role::User, after));
    human.or_else(|| {
        text.strip_prefix(markers.assistant)
            .map(|after| (Role::Assistant, after))
    })
}

/// Where the next marker begins, or the text's end.
fn next_marker(text: &str, markers: &Markers) -> usize {
    let human = text.find(markers.human).unwrap_or(text.len());
    human.min(text.find(markers.assistant).unwrap_or(text.len()))
}

/// Splits the final assistant message off: the prompt's messages and the response. A dialogue that
/// ends with the human's words has an empty response (some published responses are empty).
///
/// # Errors
/// When nothing precedes the response.
pub fn split_response(mut messages: Vec<Message>) -> Result<(Vec<Message>, String), TextError> {
    let response = match messages.pop_if(|last| last.role == Role::Assistant) {
        Some(last) => last.content,
        None => String::new(),
    };
    if messages.is_empty() {
        let reason = "it has no prompt before the assistant's response".into();
        return Err(TextError::Dialogue { reason });
    }
    Ok((messages, response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_assistant_texts_become_messages() {
        let text = "\n\nHuman: Hi\n\nthere\n\nAssistant: Hello! \n\nHuman: Bye\n\nAssistant:";
        let messages = parse_dialogue(text).unwrap();
        let expected = [
            Message::user("Hi\n\nthere"),
            Message::assistant("Hello! "),
            Message::user("Bye"),
        ];
        assert_eq!(messages, expected);
    }

    #[test]
    fn hash_texts_become_messages() {
        let text = "## Human:\nWho?\n\n\n\n## Assistant:\nMe.\n\n## Human:\nOh\n\n## Assistant:\n";
        let messages = parse_dialogue(text).unwrap();
        let expected = [
            Message::user("Who?\n\n"),
            Message::assistant("Me."),
            Message::user("Oh"),
        ];
        assert_eq!(messages, expected);
    }

    #[test]
    fn other_texts_are_refused_with_their_beginning() {
        let text = parse_dialogue("Human: hi").unwrap_err().to_string();
        assert!(
            text.contains("Human: hi") && text.contains("`raw`"),
            "{text}"
        );
    }

    #[test]
    fn a_response_is_split_off() {
        let messages = parse_dialogue("\n\nHuman: a\n\nAssistant: b").unwrap();
        assert_eq!(
            split_response(messages).unwrap(),
            (vec![Message::user("a")], "b".into())
        );
        let empty = parse_dialogue("\n\nHuman: a\n\nAssistant: ").unwrap();
        assert_eq!(
            split_response(empty).unwrap(),
            (vec![Message::user("a")], String::new())
        );
        assert!(split_response(vec![Message::assistant("a")]).is_err());
        assert!(split_response(vec![]).is_err());
    }
}
