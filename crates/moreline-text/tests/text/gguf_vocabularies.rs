use moreline_text::{Framing, Specials, StreamDecoder, Tokenizer};

use crate::{golden, golden_json, ids, tokenizer};

/// `tokens.json`: ids by sentencepiece (spm) and transformers (the others), see `make_goldens.py`.
#[test]
fn ids_equal_the_published_tokenizers() {
    for (name, cases) in golden_json("tokens.json").as_object().unwrap() {
        let tokenizer = tokenizer(&format!("{name}.gguf"));
        for case in cases.as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let got = tokenizer.encode(text, Specials::Plain).unwrap();
            assert_eq!(got, ids(&case["ids"]), "{name}: {text:?}");
            let mut stream = StreamDecoder::new();
            let mut streamed: String = got
                .iter()
                .map(|&id| stream.push(&tokenizer, id).unwrap())
                .collect();
            streamed += &stream.finish(&tokenizer).unwrap();
            assert_eq!(streamed, tokenizer.decode(&got, true).unwrap(), "{name}");
            // Qwen2 composes characters before it cuts.
            if name != "qwen2" {
                assert_eq!(streamed, text, "{name}");
            }
        }
    }
}

#[test]
fn the_ways_of_cutting_differ() {
    let encode = |name| tokenizer(name).encode("333 4444", Specials::Plain).unwrap();
    let (gpt2, qwen2, llama) = (
        encode("gpt-2.gguf"),
        encode("qwen2.gguf"),
        encode("llama-bpe.gguf"),
    );
    assert!(gpt2.len() < qwen2.len() && qwen2 != llama && gpt2 != llama);
}

#[test]
fn bos_is_added_as_the_metadata_say() {
    for (name, adds) in [
        ("gpt-2", false),
        ("qwen2", false),
        ("llama-bpe", true),
        ("spm", true),
    ] {
        let tokenizer = tokenizer(&format!("{name}.gguf"));
        assert_eq!(tokenizer.adds_bos(), adds, "{name}");
        let ids = tokenizer
            .encode_framed("The", Specials::Plain, Framing::PROMPT)
            .unwrap();
        assert_eq!(ids.first().copied() == tokenizer.bos(), adds, "{name}");
        let dir = tempfile::tempdir().unwrap();
        tokenizer.save(dir.path()).unwrap();
        assert_eq!(
            Tokenizer::load(dir.path()).unwrap().adds_bos(),
            adds,
            "{name}"
        );
    }
}

#[test]
fn user_defined_tokens_are_kept_whole() {
    let tokenizer = tokenizer("spm.gguf");
    let tool = tokenizer.id("<tool>").unwrap();
    assert!(
        tokenizer
            .encode("The<tool>dog", Specials::Plain)
            .unwrap()
            .contains(&tool)
    );
}

/// Replaces equally long text in a file's metadata.
fn altered(name: &str, from: &str, to: &str) -> String {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(golden(name)).unwrap();
    let at = bytes
        .windows(from.len())
        .position(|w| w == from.as_bytes())
        .unwrap();
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("altered.gguf");
    std::fs::write(&path, bytes).unwrap();
    let text = Tokenizer::load(&path).unwrap_err().to_string();
    assert!(text.contains("altered.gguf"), "{text}");
    text
}

#[test]
fn metadata_that_cannot_be_used_are_refused_by_key() {
    assert!(altered("qwen2.gguf", "qwen2", "qwen9").contains("`tokenizer.ggml.pre` is `qwen9`"));
    assert!(altered("qwen2.gguf", "gpt2", "bert").contains("`tokenizer.ggml.model` is `bert`"));
    assert!(
        altered("qwen2.gguf", "ggml.merges", "ggml.margin").contains("no `tokenizer.ggml.merges`")
    );
    assert!(altered("spm.gguf", "ggml.scores", "ggml.stores").contains("`tokenizer.ggml.scores`"));
    assert!(altered("spm.gguf", "<0x01>", "<0x00>").contains("are both `<0x00>`"));
}
