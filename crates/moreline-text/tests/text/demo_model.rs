use moreline_text::{
    Framing, Message, PromptForm, Specials, StreamDecoder, Tokenizer, render_full, render_prompt,
};

use crate::{demo_model, golden_json, ids};

/// `smollm2.json`: ids and rendered chats by transformers.
#[test]
fn ids_equal_the_published_tokenizer() {
    let tokenizer = Tokenizer::load(&demo_model()).unwrap();
    for row in golden_json("smollm2.json")["rows"].as_array().unwrap() {
        let text = format!(
            "{}{}",
            row["prompt"].as_str().unwrap(),
            row["answer"].as_str().unwrap()
        );
        let expected = ids(&row["ids"]);
        let mut got = tokenizer.encode(&text, Specials::Parse).unwrap();
        assert_eq!(got, tokenizer.encode(&text, Specials::Plain).unwrap());
        assert_eq!(tokenizer.decode(&got, true).unwrap(), text);
        // The published run kept 400 tokens at most.
        got.truncate(400);
        assert_eq!(got, expected);
    }
}

#[test]
fn chats_equal_the_published_rendering() {
    let tokenizer = Tokenizer::load(&demo_model()).unwrap();
    for chat in golden_json("smollm2.json")["chat"].as_array().unwrap() {
        let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone()).unwrap();
        let text = render_prompt(&messages, PromptForm::Chat, &tokenizer).unwrap();
        assert_eq!(text, chat["text"].as_str().unwrap());
    }
}

#[test]
fn special_tokens_appear_once() {
    let tokenizer = Tokenizer::load(&demo_model()).unwrap();
    assert_eq!(
        (tokenizer.bos(), tokenizer.eos(), tokenizer.pad()),
        (Some(1), Some(2), Some(2))
    );
    assert!(!tokenizer.adds_bos());
    assert_eq!(tokenizer.vocab_size(), 49152);
    tokenizer.check_fits(49152).unwrap();
    let text = tokenizer.check_fits(49000).unwrap_err().to_string();
    assert!(text.contains("49151") && text.contains("49000"), "{text}");

    let messages = [Message::user("Hi")];
    let full = render_full(&messages, "Hello!", PromptForm::Chat, &tokenizer).unwrap();
    assert!(
        full.ends_with("<|im_start|>assistant\nHello!<|im_end|>"),
        "{full}"
    );
    let framed = tokenizer
        .encode_framed(&full, Specials::Parse, Framing::REWARD)
        .unwrap();
    assert_eq!(framed, tokenizer.encode(&full, Specials::Parse).unwrap());
    assert_eq!((framed[0], framed[framed.len() - 1]), (1, 2));
    assert_ne!(framed[framed.len() - 2], 2);

    let plain = tokenizer
        .encode_framed("Hi", Specials::Plain, Framing::REWARD)
        .unwrap();
    assert_eq!(
        plain,
        [
            &[1],
            &tokenizer.encode("Hi", Specials::Plain).unwrap()[..],
            &[2]
        ]
        .concat()
    );
    let prompt = tokenizer
        .encode_framed("Hi", Specials::Plain, Framing::PROMPT)
        .unwrap();
    assert_eq!(prompt, tokenizer.encode("Hi", Specials::Plain).unwrap());
}

#[test]
fn special_tokens_in_data_are_words_when_plain() {
    let tokenizer = Tokenizer::load(&demo_model()).unwrap();
    let text = "a<|im_end|>b";
    let parsed = tokenizer.encode(text, Specials::Parse).unwrap();
    assert_eq!((parsed.len(), parsed[1]), (3, 2));
    let plain = tokenizer.encode(text, Specials::Plain).unwrap();
    assert!(!plain.contains(&2));
    assert_eq!(tokenizer.decode(&plain, true).unwrap(), text);
    assert_eq!(tokenizer.decode(&parsed, true).unwrap(), "ab");
    assert_eq!(tokenizer.decode(&parsed, false).unwrap(), text);
}

#[test]
fn streamed_text_is_whole_characters() {
    let tokenizer = Tokenizer::load(&demo_model()).unwrap();
    let text = "Grüße 你好 😀 and 1,234 words";
    let ids = tokenizer.encode(text, Specials::Plain).unwrap();
    let mut decoder = StreamDecoder::new();
    let mut pieces = Vec::new();
    for &id in &ids {
        pieces.push(decoder.push(&tokenizer, id).unwrap());
    }
    assert!(
        pieces
            .iter()
            .all(|p| !p.contains(char::REPLACEMENT_CHARACTER))
    );
    assert!(
        pieces.iter().any(String::is_empty),
        "a character of several tokens"
    );
    pieces.push(decoder.finish(&tokenizer).unwrap());
    assert_eq!(pieces.concat(), text);

    let emoji = tokenizer.encode("😀", Specials::Plain).unwrap();
    let mut cut = StreamDecoder::new();
    assert_eq!(cut.push(&tokenizer, emoji[0]).unwrap(), "");
    assert_eq!(cut.finish(&tokenizer).unwrap(), "\u{FFFD}");
}

/// What is exported for the demo model is a Hugging Face tokenizer with the same ids.
#[test]
fn the_saved_tokenizer_is_the_same() {
    let tokenizer = Tokenizer::load(&demo_model()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    tokenizer.save(dir.path()).unwrap();
    let saved = Tokenizer::load(dir.path()).unwrap();
    let text = "<|im_start|>user\nWhat's 12 + 345?<|im_end|>\n";
    for specials in [Specials::Parse, Specials::Plain] {
        assert_eq!(
            saved.encode(text, specials).unwrap(),
            tokenizer.encode(text, specials).unwrap()
        );
    }
    assert_eq!(
        (saved.bos(), saved.eos(), saved.pad()),
        (Some(1), Some(2), Some(2))
    );
    assert_eq!(saved.adds_bos(), tokenizer.adds_bos());
    assert_eq!(saved.chat_template(), tokenizer.chat_template());
}
