use std::path::Path;

use moreline_text::{Framing, Specials, Tokenizer};
use serde_json::{Value, json};

use crate::tokenizer;

/// A directory with the tokenizer of `NAME.gguf` and a `tokenizer_config.json` of our own.
fn directory(name: &str, config: Option<Value>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tokenizer(&format!("{name}.gguf")).save(dir.path()).unwrap();
    let path = dir.path().join("tokenizer_config.json");
    match config {
        Some(config) => std::fs::write(path, config.to_string()).unwrap(),
        None => std::fs::remove_file(path).unwrap(),
    }
    dir
}

fn write(dir: &Path, name: &str, text: impl ToString) {
    std::fs::write(dir.join(name), text.to_string()).unwrap();
}

#[test]
fn special_tokens_are_named_in_several_ways() {
    let ids = |t: &Tokenizer| {
        (
            t.bos().and_then(|id| t.token(id)),
            t.eos().and_then(|id| t.token(id)),
        )
    };
    let (start, end) = (Some("<|start|>".to_owned()), Some("<|end|>".to_owned()));

    let plain = directory(
        "gpt-2",
        Some(json!({ "bos_token": "<|start|>", "eos_token": { "content": "<|end|>" } })),
    );
    assert_eq!(
        ids(&Tokenizer::load(plain.path()).unwrap()),
        (start.clone(), end.clone())
    );

    let map = directory("gpt-2", Some(json!({ "bos_token": null })));
    write(
        map.path(),
        "special_tokens_map.json",
        json!({ "eos_token": "<|end|>" }),
    );
    assert_eq!(
        ids(&Tokenizer::load(map.path()).unwrap()),
        (None, end.clone())
    );

    let by_id = directory("gpt-2", None);
    let vocab = tokenizer("gpt-2.gguf");
    let config = json!({ "bos_token_id": vocab.bos(), "eos_token_id": [vocab.eos(), 5] });
    write(by_id.path(), "config.json", config);
    write(
        by_id.path(),
        "generation_config.json",
        json!({ "eos_token_id": [7, vocab.eos()] }),
    );
    let loaded = Tokenizer::load(by_id.path()).unwrap();
    assert_eq!(loaded.bos(), vocab.bos());
    assert_eq!(
        (loaded.eos(), loaded.stop_ids()),
        (Some(7), &[7, vocab.eos().unwrap()][..])
    );
}

#[test]
fn bos_follows_the_post_processor_unless_the_configuration_says_otherwise() {
    let named = json!({ "bos_token": "<|start|>" });
    let processor = directory("llama-bpe", Some(named.clone()));
    let loaded = Tokenizer::load(processor.path()).unwrap();
    assert!(loaded.adds_bos());
    let ids = loaded
        .encode_framed("<|start|>The", Specials::Parse, Framing::PROMPT)
        .unwrap();
    assert_eq!(
        ids.iter().filter(|&&id| Some(id) == loaded.bos()).count(),
        1
    );
    assert!(
        !Tokenizer::load(directory("gpt-2", Some(named)).path())
            .unwrap()
            .adds_bos()
    );
    let off = json!({ "bos_token": "<|start|>", "add_bos_token": false });
    assert!(
        !Tokenizer::load(directory("llama-bpe", Some(off)).path())
            .unwrap()
            .adds_bos()
    );
}

#[test]
fn the_template_file_comes_before_the_key_and_default_before_others() {
    let several = json!({ "chat_template": [
        { "name": "tool_use", "template": "tools" }, { "name": "default", "template": "usual" }
    ] });
    let dir = directory("gpt-2", Some(several));
    assert_eq!(
        Tokenizer::load(dir.path()).unwrap().chat_template(),
        Some("usual")
    );
    write(dir.path(), "chat_template.jinja", "from a file");
    let loaded = Tokenizer::load(dir.path()).unwrap();
    assert_eq!(loaded.chat_template(), Some("from a file"));
    let copy = tempfile::tempdir().unwrap();
    loaded.save(copy.path()).unwrap();
    assert_eq!(
        Tokenizer::load(copy.path()).unwrap().chat_template(),
        Some("from a file")
    );
}

#[test]
fn truncation_and_padding_in_the_file_are_not_obeyed() {
    let dir = directory("gpt-2", Some(json!({})));
    let path = dir.path().join("tokenizer.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["truncation"] =
        json!({ "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0 });
    write(dir.path(), "tokenizer.json", &file);
    let ids = Tokenizer::load(dir.path())
        .unwrap()
        .encode("a b c d e", Specials::Plain)
        .unwrap();
    assert!(ids.len() > 2);
}

#[test]
fn files_at_fault_are_named() {
    let error = |dir: &Path| Tokenizer::load(dir).unwrap_err().to_string();
    assert!(error(tempfile::tempdir().unwrap().path()).contains("no tokenizer.json"));
    let unknown = directory("gpt-2", Some(json!({ "eos_token": "<nowhere>" })));
    assert!(error(unknown.path()).contains("`<nowhere>`"));
    let broken = directory("gpt-2", Some(json!({})));
    write(broken.path(), "tokenizer_config.json", "{");
    assert!(error(broken.path()).contains("tokenizer_config.json"));
    write(broken.path(), "tokenizer_config.json", "{}");
    write(broken.path(), "tokenizer.json", "{\"model\": 3}");
    assert!(error(broken.path()).contains("tokenizer.json"));
    let template = directory("gpt-2", Some(json!({ "chat_template": "{% if %}" })));
    assert!(error(template.path()).contains("chat template"));
}
