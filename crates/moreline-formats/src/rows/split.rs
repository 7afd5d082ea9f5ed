//! Whole texts as a prompt and the responses to it.

use moreline_protocol::rows::Message;

use super::fields::Reason;
use super::separator;
use crate::dialogue::{self, DialogueForm};

/// A prompt and the responses to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) prompt: Vec<Message>,
    pub(crate) responses: Vec<String>,
    /// True if a response holds more turns than one.
    pub(crate) longer: bool,
}

/// Splits texts of one row: at the separator where they hold one, else as
/// dialogues.
pub(crate) fn texts(texts: &[String]) -> Result<Split, Reason> {
    match separated(texts)? {
        Some(split) => Ok(split),
        None => dialogues(texts),
    }
}

/// Splits texts at the separator; nothing if none of them holds one. They must
/// have the same query.
pub(crate) fn separated(texts: &[String]) -> Result<Option<Split>, Reason> {
    let parts: Vec<_> = texts
        .iter()
        .map(|text| separator::split(text))
        .collect::<Result<_, _>>()?;
    let with = parts.iter().flatten().count();
    if with == 0 {
        return Ok(None);
    }
    if with < parts.len() {
        let without = parts.len() - with;
        return Err(Reason::new(format!(
            "{without} of the {} texts hold no `{}`",
            parts.len(),
            separator::SEPARATOR
        )));
    }
    let mut parts = parts.into_iter().flatten();
    let (first, answer) = parts.next().unwrap_or_default();
    let mut responses = vec![answer_to(first, answer)];
    for (query, answer) in parts {
        if query != first {
            return Err(
                Reason::new("the texts have different queries before their separator")
                    .hint("a row holds responses to one query"),
            );
        }
        responses.push(answer_to(query, answer));
    }
    let prompt = query(first)?;
    Ok(Some(Split {
        prompt,
        responses,
        longer: false,
    }))
}

/// A published query as messages: a dialogue up to the assistant's marker, or
/// one message of the user's.
pub(crate) fn query(text: &str) -> Result<Vec<Message>, Reason> {
    if text.trim().is_empty() {
        return Err(Reason::new("the query is empty"));
    }
    let Some(messages) = dialogue::parse(text) else {
        return Ok(vec![Message::user(text)]);
    };
    match messages.last() {
        Some(last) if last.role == "user" => Ok(messages),
        _ => Err(Reason::new(
            "the query is a dialogue that does not end with the user's turn",
        )),
    }
}

/// The answer to a published query, without the space that belongs to the
/// marker before it.
pub(crate) fn answer_to(query: &str, answer: &str) -> String {
    let colon = DialogueForm::of(query) == Some(DialogueForm::HumanAssistant)
        && query.ends_with("\n\nAssistant:");
    let answer = match colon {
        true => answer.strip_prefix(' ').unwrap_or(answer),
        false => answer,
    };
    answer.to_owned()
}

/// The longest dialogue all texts begin with, as far as its last user message,
/// and the rest of each text, byte for byte. `longer` if a rest holds more than
/// one reply: the dialogues part before their last one.
pub(crate) fn dialogues(texts: &[String]) -> Result<Split, Reason> {
    let dialogues: Vec<_> = texts.iter().map(|text| dialogue::parse(text)).collect();
    let dialogues: Vec<_> = dialogues
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| {
            Reason::new("a text is no published dialogue").hint(
                "dialogues begin with \"\\n\\nHuman:\" or \"## Human:\"; plain texts go into \
             `prompt`, `chosen` and `rejected` and need no import",
            )
        })?;
    let first = &dialogues[0];
    let mut shared = first.len();
    for other in &dialogues[1..] {
        let same = first.iter().zip(other).take_while(|(a, b)| a == b);
        shared = shared.min(same.count());
    }
    // A single dialogue ends with its response.
    shared = shared.min(
        first
            .len()
            .saturating_sub(usize::from(dialogues.len() == 1)),
    );
    // The prompt ends with the user: a reply all share is a response all give.
    while shared > 0 && first[shared - 1].role != "user" {
        shared -= 1;
    }
    if shared == 0 {
        return Err(Reason::new(
            "the responses share no prompt: they part in the first message",
        ));
    }
    let mut responses = Vec::new();
    for (text, dialogue) in texts.iter().zip(&dialogues) {
        match dialogue.get(shared) {
            Some(reply) if reply.role == "assistant" && !reply.content.trim().is_empty() => {
                responses.push(text[dialogue::content_start(text, shared)..].to_owned());
            }
            _ => return Err(Reason::new("a response is empty")),
        }
    }
    let longer = dialogues.iter().any(|d| d.len() > shared + 1);
    let prompt = first[..shared].to_vec();
    Ok(Split {
        prompt,
        responses,
        longer,
    })
}
