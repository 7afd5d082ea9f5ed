//! The published separator between a query and its answer.
//!
//! The published programs write `QUERY<sep>ANSWER` and take it apart wherever
//! `<sep>` stands. A user may have written the same five characters, so here a
//! text is taken apart only where there is one way to do it.

use super::fields::Reason;
use crate::dialogue::DialogueForm;

/// What stands between query and answer.
pub(crate) const SEPARATOR: &str = "<sep>";

/// Query and answer of a text; nothing if it holds no separator.
///
/// # Errors
/// More than one separator, or one inside a dialogue that is not right after
/// the assistant's marker, where a published query ends.
pub(crate) fn split(text: &str) -> Result<Option<(&str, &str)>, Reason> {
    let Some((query, answer)) = text.split_once(SEPARATOR) else {
        return Ok(None);
    };
    let ambiguous = |why: &str| {
        Err(Reason::new(format!("`{SEPARATOR}` {why}")).hint(
            "it stands for the border between query and answer: give those in fields of their own \
             (`prompt` and `answer`) if a text holds it",
        ))
    };
    if answer.contains(SEPARATOR) {
        return ambiguous("is there more than once, so it is not clear where the answer begins");
    }
    if DialogueForm::of(query).is_some() && !ends_with_marker(query) {
        return ambiguous("stands inside a dialogue, not after its last `Assistant:`");
    }
    Ok(Some((query, answer)))
}

/// True if [`split`] takes the text apart.
pub(crate) fn is_separated(text: &str) -> bool {
    text.contains(SEPARATOR) && matches!(split(text), Ok(Some(_)))
}

/// True if the next thing in a published dialogue is the assistant's.
fn ends_with_marker(query: &str) -> bool {
    let turns = ["\n\nAssistant:", "\n\nAssistant: ", "## Assistant:\n"];
    turns.iter().any(|marker| query.ends_with(marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_one_border_is_taken_apart() {
        for (query, answer) in [
            ("What is red?", "A colour."),
            ("\n\nHuman: Hi\n\nAssistant:", " Hello."),
            ("\n\nHuman: Hi\n\nAssistant: ", "Hello."),
            ("## Human:\nHi\n\n## Assistant:\n", "Hello."),
            ("Hi", ""),
        ] {
            let text = format!("{query}{SEPARATOR}{answer}");
            assert_eq!(split(&text), Ok(Some((query, answer))), "{text:?}");
            assert!(is_separated(&text));
        }
        assert_eq!(split("no border here"), Ok(None));
        assert!(!is_separated("no border here"));
    }

    #[test]
    fn what_a_user_wrote_is_never_taken_for_the_border() {
        for text in [
            "What does <sep> mean?<sep>A border.",
            "\n\nHuman: What does <sep> mean?\n\nAssistant: A border.",
            "\n\nHuman: What does <sep> mean?\n\nAssistant:<sep> A border.",
            "\n\nHuman: Hi\n\nAssistant:<sep> I say <sep> at times.",
        ] {
            let reason = split(text).unwrap_err();
            assert!(reason.text.starts_with("`<sep>` "), "{}", reason.text);
            assert!(reason.hint.is_some() && !is_separated(text));
        }
    }
}
