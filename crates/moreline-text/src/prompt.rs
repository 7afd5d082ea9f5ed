//! The forms in which messages are fed to a model.

use serde::{Deserialize, Serialize};

use crate::chat_template::ChatTemplate;
use crate::dialogue::{HASH_HUMAN, HUMAN_ASSISTANT, Markers, Message, Role};
use crate::error::TextError;
use crate::tokenizer::{Specials, Tokenizer};

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

impl PromptForm {
    /// The form's name, as it is written in experiment files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::HumanAssistant => "human-assistant",
            Self::HashHuman => "hash-human",
            Self::Chat => "chat",
        }
    }

    /// How text rendered in this form is to be encoded: a template's special tokens are meant,
    /// those that other texts spell are words.
    pub fn specials(self) -> Specials {
        if self == Self::Chat {
            Specials::Parse
        } else {
            Specials::Plain
        }
    }
}

/// The prompt's text, ending where the assistant's words begin. In the form `human-assistant` that
/// is after the colon: the space belongs to the response, so that words keep their usual tokens,
/// and is to be cut from the beginning of what a model generates.
///
/// # Errors
/// Roles that the form cannot express, no messages, no or a failing chat template. (Two turns of one
/// role in a row occur in published data; the text forms take them, a chat template may refuse.)
pub fn render_prompt(
    messages: &[Message],
    form: PromptForm,
    tokenizer: &Tokenizer,
) -> Result<String, TextError> {
    check(messages, form)?;
    match form {
        PromptForm::Raw => Ok(messages[0].content.clone()),
        PromptForm::HumanAssistant => turns(messages, &HUMAN_ASSISTANT, form),
        PromptForm::HashHuman => {
            let mut text = turns(messages, &HASH_HUMAN, form)?;
            text.push_str(HASH_HUMAN.gap);
            Ok(text.trim_start_matches("\n\n").to_owned())
        }
        PromptForm::Chat => template(tokenizer)?.render(messages, true),
    }
}

/// Prompt and response as one text. In the text forms it begins with `render_prompt` of the same
/// messages; in the chat form the template decides. A chat template's closing EOS is the last thing
/// in the text: white space that the template writes after it is cut, so that the sequence ends
/// with EOS exactly once.
///
/// # Errors
/// As [`render_prompt`].
pub fn render_full(
    prompt: &[Message],
    response: &str,
    form: PromptForm,
    tokenizer: &Tokenizer,
) -> Result<String, TextError> {
    if form != PromptForm::Chat {
        let gap = if form == PromptForm::HumanAssistant {
            HUMAN_ASSISTANT.gap
        } else {
            ""
        };
        return Ok(render_prompt(prompt, form, tokenizer)? + gap + response);
    }
    check(prompt, form)?;
    let mut messages = prompt.to_vec();
    messages.push(Message::assistant(response));
    let mut text = template(tokenizer)?.render(&messages, false)?;
    let eos = tokenizer.eos().and_then(|id| tokenizer.token(id));
    let words = text.trim_end().len();
    if eos.is_some_and(|eos| text[..words].ends_with(&eos)) {
        text.truncate(words);
    }
    Ok(text)
}

fn template(tokenizer: &Tokenizer) -> Result<&ChatTemplate, TextError> {
    let missing = || TextError::NoTemplate {
        path: tokenizer.path().to_owned(),
    };
    tokenizer.template().ok_or_else(missing)
}

fn check(messages: &[Message], form: PromptForm) -> Result<(), TextError> {
    let fail = |reason: String| {
        Err(TextError::Form {
            form: form.name(),
            reason,
        })
    };
    if messages.is_empty() {
        return fail("there are none".into());
    }
    if form == PromptForm::Raw && messages.len() > 1 {
        return fail(format!(
            "it takes one text, not {} messages",
            messages.len()
        ));
    }
    Ok(())
}

/// The turns, each with its marker, and the assistant's marker at the end.
fn turns(messages: &[Message], markers: &Markers, form: PromptForm) -> Result<String, TextError> {
    let mut text = String::new();
    for message in messages {
        let marker = match message.role {
            Role::User => markers.human,
            Role::Assistant => markers.assistant,
            Role::System => {
                let reason = "it has no place for a system message; use the form `chat`".into();
                return Err(TextError::Form {
                    form: form.name(),
                    reason,
                });
            }
        };
        text.extend([marker, markers.gap, &message.content]);
    }
    text.push_str(markers.assistant);
    Ok(text)
}
