//! The published dialogue texts, and the messages in them.
//!
//! | Form | A turn |
//! | --- | --- |
//! | [`DialogueForm::HumanAssistant`] | `\n\nHuman: CONTENT`, `\n\nAssistant: CONTENT` |
//! | [`DialogueForm::HashHuman`] | `## Human:\nCONTENT`, `## Assistant:\nCONTENT`, joined by `\n\n` |
//!
//! [`parse`] and [`render`] are inverse to each other: contents keep their
//! bytes, white space included, as long as no content holds a marker itself.

use moreline_protocol::rows::Message;

/// How turns are marked in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialogueForm {
    /// `\n\nHuman: ...\n\nAssistant: ...`
    HumanAssistant,
    /// `## Human:\n...\n\n## Assistant:\n...`
    HashHuman,
}

/// Who speaks and where the content begins and the turn began.
struct Turn {
    role: &'static str,
    start: usize,
    content: usize,
}

impl DialogueForm {
    /// The form of a text, told by its beginning.
    pub fn of(text: &str) -> Option<Self> {
        if text.starts_with("\n\nHuman:") || text.starts_with("\n\nAssistant:") {
            Some(Self::HumanAssistant)
        } else if text.starts_with("## Human:\n") || text.starts_with("## Assistant:\n") {
            Some(Self::HashHuman)
        } else {
            None
        }
    }

    /// The marker before a turn, as at the start of a text.
    fn markers(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::HumanAssistant => [("user", "\n\nHuman:"), ("assistant", "\n\nAssistant:")],
            Self::HashHuman => [("user", "## Human:\n"), ("assistant", "## Assistant:\n")],
        }
    }

    /// What stands between the end of one content and the next marker.
    fn separator(self) -> &'static str {
        match self {
            Self::HumanAssistant => "",
            Self::HashHuman => "\n\n",
        }
    }

    /// The next turn at or after `from`.
    fn next_turn(self, text: &str, from: usize) -> Option<Turn> {
        let find = |(role, marker): (&'static str, &str)| {
            let (start, skip) = match from {
                0 if text.starts_with(marker) => (0, marker.len()),
                _ => {
                    let marker = format!("{}{marker}", self.separator());
                    (from + text[from..].find(&marker)?, marker.len())
                }
            };
            let content = start + skip;
            // One space after the colon belongs to the marker.
            let space = self == Self::HumanAssistant && text[content..].starts_with(' ');
            Some(Turn {
                role,
                start,
                content: content + usize::from(space),
            })
        };
        let turns = self.markers().into_iter().filter_map(find);
        turns.min_by_key(|turn| turn.start)
    }
}

/// Reads a published text into messages; absent if it begins with no marker.
/// A final assistant marker with nothing after it, as prompts end, gives no
/// message.
pub fn parse(text: &str) -> Option<Vec<Message>> {
    let form = DialogueForm::of(text)?;
    let mut messages = Vec::new();
    let mut turn = form.next_turn(text, 0);
    while let Some(Turn { role, content, .. }) = turn {
        turn = form.next_turn(text, content);
        let end = turn.as_ref().map_or(text.len(), |next| next.start);
        let content = &text[content..end];
        if turn.is_none() && role == "assistant" && content.is_empty() {
            break;
        }
        messages.push(Message {
            role: role.into(),
            content: content.into(),
        });
    }
    Some(messages)
}

/// Writes messages as a published text. A system message, for which the forms
/// have no marker, stands as plain text before the first turn.
pub fn render(form: DialogueForm, messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        if !text.is_empty() {
            text.push_str(form.separator());
        }
        let marker = form.markers().into_iter().find(|m| m.0 == message.role);
        if let Some((_, marker)) = marker {
            text.push_str(marker);
            if form == DialogueForm::HumanAssistant {
                text.push(' ');
            }
        }
        text.push_str(&message.content);
    }
    text
}

/// [`render`], then the assistant's marker, ready for its response. Ends with
/// `Assistant:` and no space, or with `## Assistant:` and a line break.
pub fn render_prompt(form: DialogueForm, messages: &[Message]) -> String {
    let [_, (_, marker)] = form.markers();
    let text = render(form, messages);
    let separator = if text.is_empty() {
        ""
    } else {
        form.separator()
    };
    format!("{text}{separator}{marker}")
}

/// Where in the text the content of the turn at `turn` (from 0) begins; the
/// text's length if there are fewer turns.
pub fn content_start(text: &str, turn: usize) -> usize {
    let Some(form) = DialogueForm::of(text) else {
        return text.len();
    };
    let mut at = form.next_turn(text, 0);
    for _ in 0..turn {
        at = at.and_then(|t| form.next_turn(text, t.content));
    }
    at.map_or(text.len(), |t| t.content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }

    #[test]
    fn both_published_forms_are_read() {
        let (user, assistant) = (message("user", "Hi?"), message("assistant", "Yes.\n\nMore"));
        let colon = "\n\nHuman: Hi?\n\nAssistant: Yes.\n\nMore";
        let hash = "## Human:\nHi?\n\n## Assistant:\nYes.\n\nMore";
        let both = vec![user.clone(), assistant];
        assert_eq!(parse(colon), Some(both.clone()));
        assert_eq!(parse(hash), Some(both));
        for prompt in [
            "\n\nHuman: Hi?\n\nAssistant:",
            "\n\nHuman: Hi?\n\nAssistant: ",
            "## Human:\nHi?\n\n## Assistant:\n",
        ] {
            assert_eq!(parse(prompt), Some(vec![user.clone()]), "{prompt:?}");
        }
        assert_eq!(parse("Hi?"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn white_space_around_a_turn_is_kept() {
        let text = "## Human:\nWho was she\n\n\n\n## Assistant:\n She was";
        let messages = parse(text).unwrap();
        assert_eq!(messages[0].content, "Who was she\n\n");
        assert_eq!(render(DialogueForm::HashHuman, &messages), text);
    }

    #[test]
    fn a_prompt_ends_with_the_assistants_marker() {
        let messages = [message("user", "a")];
        let colon = render_prompt(DialogueForm::HumanAssistant, &messages);
        assert_eq!(colon, "\n\nHuman: a\n\nAssistant:");
        let hash = render_prompt(DialogueForm::HashHuman, &messages);
        assert_eq!(hash, "## Human:\na\n\n## Assistant:\n");
        assert_eq!(parse(&colon).unwrap(), messages);
        assert_eq!(parse(&hash).unwrap(), messages);
    }

    #[test]
    fn turns_are_found_in_the_text() {
        let text = "\n\nHuman: a\n\nAssistant: b";
        assert_eq!(&text[content_start(text, 0)..], "a\n\nAssistant: b");
        assert_eq!(&text[content_start(text, 1)..], "b");
        assert_eq!(content_start(text, 2), text.len());
    }

    fn contents() -> impl Strategy<Value = String> {
        "[ \nHA#:a]{0,12}|(Human:|## )?\\PC{0,12}"
    }

    fn dialogue() -> impl Strategy<Value = (DialogueForm, Vec<Message>)> {
        let form = prop_oneof![
            Just(DialogueForm::HumanAssistant),
            Just(DialogueForm::HashHuman)
        ];
        let turn = (any::<bool>(), contents())
            .prop_map(|(user, text)| message(if user { "user" } else { "assistant" }, &text));
        (form, prop::collection::vec(turn, 1..6))
    }

    fn holds_marker(form: DialogueForm, messages: &[Message]) -> bool {
        // Counting markers in the whole text also finds those that form where
        // a content meets what follows it.
        let text = render(form, messages);
        let count = form.markers().into_iter().map(|(_, marker)| {
            let marker = marker.trim_start_matches('\n');
            text.matches(marker).count()
        });
        count.sum::<usize>() != messages.len()
    }

    proptest! {
        #[test]
        fn parsing_inverts_rendering((form, messages) in dialogue()) {
            prop_assume!(!holds_marker(form, &messages));
            let last = messages.last().unwrap();
            prop_assume!(!(last.role == "assistant" && last.content.is_empty()));
            let text = render(form, &messages);
            let parsed = parse(&text).unwrap();
            prop_assert_eq!(&parsed, &messages);
            prop_assert_eq!(render(form, &parsed), text);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(\n\nHuman:|## Human:\n|\n\nAssistant:|[ \n#a:é]){0,12}") {
            if let Some(messages) = parse(&text) {
                prop_assert!(messages.len() < 13);
            }
        }
    }
}
