use moreline_text::{
    Message, PromptForm, Role, Tokenizer, parse_dialogue, render_full, render_prompt,
    split_response,
};
use serde_json::json;

use crate::tokenizer;

fn system() -> Message {
    Message {
        role: Role::System,
        content: "Be brief.".into(),
    }
}

fn any() -> Tokenizer {
    tokenizer("gpt-2.gguf")
}

#[test]
fn published_texts_survive_parsing_and_rendering() {
    let texts = [
        (
            "\n\nHuman: Hi\n\nAssistant: Hello! \n\nHuman: Bye?\n\nAssistant: Bye.",
            PromptForm::HumanAssistant,
        ),
        (
            "\n\nHuman: \n\nAssistant: \n\nHuman: x\n\nAssistant: y\n\n",
            PromptForm::HumanAssistant,
        ),
        // As published: two turns in a row, and an empty response.
        (
            "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c",
            PromptForm::HumanAssistant,
        ),
        ("\n\nHuman: a\n\nAssistant: ", PromptForm::HumanAssistant),
        (
            "## Human:\nWho?\n\n\n\n## Assistant:\nMe.\n",
            PromptForm::HashHuman,
        ),
        (
            "## Human:\na\n\n## Assistant:\nb\n\n## Human:\nc\n\n## Assistant:\nd",
            PromptForm::HashHuman,
        ),
    ];
    for (text, form) in texts {
        let (prompt, response) = split_response(parse_dialogue(text).unwrap()).unwrap();
        let full = render_full(&prompt, &response, form, &any()).unwrap();
        assert_eq!(full, text);
        assert!(full.starts_with(&render_prompt(&prompt, form, &any()).unwrap()));
    }
}

#[test]
fn prompts_end_where_the_assistant_begins() {
    let messages = [Message::user("Who?")];
    let render = |form| render_prompt(&messages, form, &any()).unwrap();
    assert_eq!(
        render(PromptForm::HumanAssistant),
        "\n\nHuman: Who?\n\nAssistant:"
    );
    assert_eq!(
        render(PromptForm::HashHuman),
        "## Human:\nWho?\n\n## Assistant:\n"
    );
    assert_eq!(render(PromptForm::Raw), "Who?");
    assert_eq!(
        parse_dialogue(&render(PromptForm::HumanAssistant)).unwrap(),
        messages
    );
    assert_eq!(
        parse_dialogue(&render(PromptForm::HashHuman)).unwrap(),
        messages
    );
    let raw = render_full(&messages, " Me.", PromptForm::Raw, &any()).unwrap();
    assert_eq!(raw, "Who? Me.");
}

#[test]
fn what_a_form_cannot_express_is_refused_by_its_name() {
    let user = Message::user("a");
    let cases = [
        (
            vec![],
            PromptForm::HumanAssistant,
            "`human-assistant`: there are none",
        ),
        (
            vec![system(), user.clone()],
            PromptForm::HashHuman,
            "no place for a system message",
        ),
        (
            vec![user.clone(), user.clone()],
            PromptForm::Raw,
            "one text, not 2 messages",
        ),
        (vec![user], PromptForm::Chat, "has no chat template"),
    ];
    for (messages, form, expected) in cases {
        let text = render_prompt(&messages, form, &any())
            .unwrap_err()
            .to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn forms_are_named_in_experiment_files_as_in_errors() {
    for form in [
        PromptForm::Raw,
        PromptForm::HumanAssistant,
        PromptForm::HashHuman,
        PromptForm::Chat,
    ] {
        assert_eq!(serde_json::to_value(form).unwrap(), json!(form.name()));
    }
}
