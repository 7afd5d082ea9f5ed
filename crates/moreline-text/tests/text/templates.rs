use moreline_text::{ChatTemplate, Message};

use crate::golden_json;

/// `templates.json`: renderings by transformers, see `make_goldens.py`.
#[test]
fn renderings_equal_transformers() {
    for case in golden_json("templates.json").as_array().unwrap() {
        let template =
            ChatTemplate::new(case["template"].as_str().unwrap(), "<s>", "</s>").unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let prompt = case["add_generation_prompt"].as_bool().unwrap();
        let text = template.render(&messages, prompt).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{}", case["name"]);
    }
}

fn render(source: &str) -> Result<String, String> {
    let template = ChatTemplate::new(source, "<s>", "</s>").map_err(|e| e.to_string())?;
    template
        .render(&[Message::user("Hi")], true)
        .map_err(|e| e.to_string())
}

#[test]
fn a_template_may_refuse_the_messages() {
    let text = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
    assert!(text.contains("roles must alternate"), "{text}");
}

#[test]
fn the_date_is_fixed() {
    assert_eq!(
        render("{{ strftime_now('%d %b %Y') }}").unwrap(),
        "26 Jul 2024"
    );
    assert!(render("{{ strftime_now('%A %-d') }}").is_err());
}

#[test]
fn generation_marks_are_blocks() {
    let source = "a\n{%- generation %}\n b\n{%- endgeneration -%}\n c";
    assert_eq!(render(source).unwrap(), "a bc");
}

#[test]
fn errors_name_the_line() {
    let text = render("line one\n{% if %}").unwrap_err();
    assert!(text.contains(":2)") || text.contains("line 2"), "{text}");
    assert!(render("{{ nothing.at.all }}").is_err());
}

#[test]
fn endless_templates_are_stopped() {
    let nested = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    let text = render(nested).unwrap_err();
    assert!(text.contains("fuel"), "{text}");
    let recursive = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(render(recursive).is_err());
}
