//! A tokenizer from GGUF metadata, by way of the `tokenizer.json` it amounts to.

use std::path::Path;

use moreline_formats::gguf::Gguf;
use serde_json::{Map, Value, json};

use super::vocabulary::{Kind, Token, Vocabulary};
use super::{Parts, Source, stop_ids};
use crate::error::TextError;

pub(super) fn load(path: &Path) -> Result<Parts, TextError> {
    let gguf = Gguf::open(path)?;
    let vocabulary = Vocabulary::read(&gguf)?;
    let special = |key: &str| -> Result<Option<u32>, TextError> {
        let id = gguf.unsigned(&format!("tokenizer.ggml.{key}"))?;
        match id {
            None => Ok(None),
            Some(id) if (id as usize) < vocabulary.tokens.len() => Ok(Some(id as u32)),
            Some(id) => {
                let tokens = vocabulary.tokens.len();
                let reason =
                    format!("`tokenizer.ggml.{key}` is {id}, but there are {tokens} tokens");
                Err(TextError::tokenizer(path, reason))
            }
        }
    };
    let (bos, eos) = (special("bos_token_id")?, special("eos_token_id")?);
    let pad = special("padding_token_id")?;
    let end_of_turn = special("eot_token_id")?;
    let adds_bos = match gguf.flag("tokenizer.ggml.add_bos_token")? {
        Some(adds) => adds,
        // What converters leave out when it is the family's habit.
        None => vocabulary.kind != Kind::ByteLevel || vocabulary.pre == "llama-bpe",
    };
    let template = gguf.string("tokenizer.chat_template")?.map(str::to_owned);
    let text = |id: Option<u32>| id.map(|id| vocabulary.tokens[id as usize].text.clone());
    let added_bos = text(bos.filter(|_| adds_bos)).zip(bos);
    let document = tokenizer_json(&vocabulary, added_bos);
    let bytes = serde_json::to_vec(&document).map_err(|e| TextError::tokenizer(path, e))?;
    let inner =
        tokenizers::Tokenizer::from_bytes(&bytes).map_err(|e| TextError::tokenizer(path, e))?;
    let mut config = Map::new();
    config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    config.insert("clean_up_tokenization_spaces".into(), false.into());
    config.insert("add_bos_token".into(), adds_bos.into());
    for (key, id) in [("bos_token", bos), ("eos_token", eos), ("pad_token", pad)] {
        config.extend(text(id).map(|text| (key.to_owned(), Value::String(text))));
    }
    config.extend(
        vocabulary
            .unknown()
            .map(|t| ("unk_token".to_owned(), json!(t.text))),
    );
    config.extend(
        template
            .clone()
            .map(|t| ("chat_template".to_owned(), Value::String(t))),
    );
    let config = format!("{:#}\n", Value::Object(config)).into_bytes();
    Ok(Parts {
        source: Source::Gguf(vec![
            ("tokenizer.json", bytes),
            ("tokenizer_config.json", config),
        ]),
        inner,
        bos,
        eos,
        pad,
        stops: stop_ids(eos, end_of_turn),
        adds_bos: Some(adds_bos),
        template,
    })
}

/// The document of the `tokenizers` library. `bos` is put in front by its post-processor.
fn tokenizer_json(vocabulary: &Vocabulary, bos: Option<(String, u32)>) -> Value {
    let vocab: Map<String, Value> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.text.clone(), json!(id)))
        .collect();
    let byte_level = vocabulary.kind == Kind::ByteLevel;
    let unknown = vocabulary
        .unknown()
        .filter(|_| !byte_level)
        .map(|t| t.text.as_str());
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(vocabulary),
        "normalizer": normalizer(vocabulary),
        "pre_tokenizer": if byte_level { byte_level_pre_tokenizer(&vocabulary.pre) } else { Value::Null },
        "post_processor": bos.map(|(text, id)| bos_template(&text, id)),
        "decoder": decoder(vocabulary),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": !byte_level,
            "byte_fallback": !byte_level,
            "ignore_merges": byte_level && vocabulary.pre == "llama-bpe",
            "vocab": vocab,
            "merges": vocabulary.merges,
        },
    })
}

fn added_tokens(vocabulary: &Vocabulary) -> Vec<Value> {
    let added = |(id, token): (usize, &Token)| {
        (token.is_special() || token.is_user_defined()).then(|| {
            json!({
                "id": id, "content": token.text, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": token.is_special(),
            })
        })
    };
    vocabulary
        .tokens
        .iter()
        .enumerate()
        .filter_map(added)
        .collect()
}

fn normalizer(vocabulary: &Vocabulary) -> Value {
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" });
    let prepend = json!({ "type": "Prepend", "prepend": "\u{2581}" });
    match vocabulary.kind {
        Kind::ByteLevel if vocabulary.pre == "qwen2" => json!({ "type": "NFC" }),
        Kind::ByteLevel => Value::Null,
        Kind::SentencePiece { prefix_space: true } => {
            json!({ "type": "Sequence", "normalizers": [prepend, replace] })
        }
        Kind::SentencePiece {
            prefix_space: false,
        } => replace,
    }
}

fn decoder(vocabulary: &Vocabulary) -> Value {
    let Kind::SentencePiece { prefix_space } = vocabulary.kind else {
        return byte_level(true);
    };
    let mut steps = vec![
        json!({ "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix_space {
        steps.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    json!({ "type": "Sequence", "decoders": steps })
}

fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex,
    })
}

/// How a byte-level vocabulary cuts text into words, by the name converters give the scheme; the
/// names have been checked by [`Vocabulary::read`].
fn byte_level_pre_tokenizer(pre: &str) -> Value {
    // The expressions are fixed by the models' vocabularies.
    let expression = match pre {
        "smollm" => one_digit_a_word(),
        "llama-bpe" => digits_apart(r"\p{N}{1,3}"),
        "qwen2" => digits_apart(r"\p{N}"),
        _ => return byte_level(true),
    };
    let split = json!({
        "type": "Split",
        "pattern": { "Regex": expression },
        "behavior": "Isolated",
        "invert": false,
    });
    json!({ "type": "Sequence", "pretokenizers": [split, byte_level(false)] })
}

/// GPT-2's expression with each digit a word. Everything is cut in one pass, as transformers does
/// when it reads such a file: of the white space before a digit the last character stands alone.
/// (A tokenizer that separates digits first would keep two newlines before a digit together.)
fn one_digit_a_word() -> String {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+".into()
}

/// Llama 3's and Qwen2's expression, which differ in how many digits make a word.
fn digits_apart(digits: &str) -> String {
    let contractions = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    let letters = r"[^\r\n\p{L}\p{N}]?\p{L}+";
    let marks = r" ?[^\s\p{L}\p{N}]+[\r\n]*";
    let space = r"\s*[\r\n]+|\s+(?!\S)|\s+";
    format!("{contractions}|{letters}|{digits}|{marks}|{space}")
}

fn bos_template(text: &str, id: u32) -> Value {
    let special = json!({ "SpecialToken": { "id": text, "type_id": 0 } });
    let sequence = |id: &str, type_id: u32| json!({ "Sequence": { "id": id, "type_id": type_id } });
    json!({
        "type": "TemplateProcessing",
        "single": [special, sequence("A", 0)],
        "pair": [special, sequence("A", 0), special, sequence("B", 1)],
        "special_tokens": { text: { "id": text, "ids": [id], "tokens": [text] } },
    })
}
