//! The vocabulary in GGUF metadata: tokens, their types, and merges, written or reconstructed.

use std::collections::HashMap;

use moreline_formats::gguf::Gguf;

use crate::error::TextError;

/// The families of vocabularies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `gpt2`: byte-level BPE with merges.
    ByteLevel,
    /// `llama`: SentencePiece-style BPE with scores and byte fallback.
    SentencePiece {
        /// Whether a space is put in front of a text.
        prefix_space: bool,
    },
}

/// One token and its `tokenizer.ggml.token_type`.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: String,
    kind: i64,
}

const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

impl Token {
    pub(super) fn is_special(&self) -> bool {
        matches!(self.kind, UNKNOWN | CONTROL)
    }

    pub(super) fn is_user_defined(&self) -> bool {
        self.kind == USER_DEFINED
    }
}

#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) kind: Kind,
    /// How byte-level text is cut into words; empty for SentencePiece.
    pub(super) pre: String,
    pub(super) tokens: Vec<Token>,
    /// In order of priority.
    pub(super) merges: Vec<(String, String)>,
}

impl Vocabulary {
    pub(super) fn read(gguf: &Gguf) -> Result<Self, TextError> {
        let fail = |reason: String| TextError::tokenizer(gguf.path(), reason);
        let key = "tokenizer.ggml.model";
        let kind = match gguf.string(key)? {
            Some("gpt2") => Kind::ByteLevel,
            Some("llama") => {
                let prefix_space = gguf
                    .flag("tokenizer.ggml.add_space_prefix")?
                    .unwrap_or(true);
                Kind::SentencePiece { prefix_space }
            }
            Some(other) => {
                return Err(fail(format!(
                    "`{key}` is `{other}`; gpt2 and llama are supported"
                )));
            }
            None => return Err(fail(format!("its metadata has no `{key}`"))),
        };
        let tokens = tokens(gguf)?;
        let (pre, merges) = match kind {
            Kind::ByteLevel => (pre(gguf)?, merges(gguf)?),
            Kind::SentencePiece { .. } => (String::new(), merges_by_score(&tokens, &scores(gguf)?)),
        };
        Ok(Self {
            kind,
            pre,
            tokens,
            merges,
        })
    }

    /// The token for what the vocabulary cannot express.
    pub(super) fn unknown(&self) -> Option<&Token> {
        self.tokens.iter().find(|t| t.kind == UNKNOWN)
    }
}

fn tokens(gguf: &Gguf) -> Result<Vec<Token>, TextError> {
    let fail = |reason: String| TextError::tokenizer(gguf.path(), reason);
    let texts = strings(gguf, "tokenizer.ggml.tokens")?;
    let kinds = match gguf.array("tokenizer.ggml.token_type")? {
        None => vec![NORMAL; texts.len()],
        Some(array) => array
            .integers()
            .ok_or_else(|| fail("`tokenizer.ggml.token_type` should be integers".into()))?,
    };
    if kinds.len() != texts.len() {
        let (kinds, texts) = (kinds.len(), texts.len());
        return Err(fail(format!(
            "it has {texts} tokens, but {kinds} token types"
        )));
    }
    let mut seen = HashMap::new();
    for (id, text) in texts.iter().enumerate() {
        if let Some(first) = seen.insert(text, id) {
            return Err(fail(format!(
                "its tokens {first} and {id} are both `{text}`"
            )));
        }
    }
    Ok(texts
        .iter()
        .zip(kinds)
        .map(|(text, kind)| Token {
            text: text.clone(),
            kind,
        })
        .collect())
}

fn strings<'a>(gguf: &'a Gguf, key: &str) -> Result<&'a [String], TextError> {
    let fail = |reason: String| TextError::tokenizer(gguf.path(), reason);
    let array = gguf
        .array(key)?
        .ok_or_else(|| fail(format!("its metadata has no `{key}`")))?;
    array
        .strings()
        .ok_or_else(|| fail(format!("`{key}` should be strings")))
}

/// The word-cutting scheme. Files from before the key existed, and `default`, mean GPT-2's.
fn pre(gguf: &Gguf) -> Result<String, TextError> {
    let key = "tokenizer.ggml.pre";
    match gguf.string(key)? {
        None | Some("default" | "gpt-2") => Ok("gpt-2".into()),
        Some("llama3" | "llama-v3" | "llama-bpe") => Ok("llama-bpe".into()),
        Some(known @ ("smollm" | "qwen2")) => Ok(known.into()),
        Some(other) => {
            let known = "default, gpt-2, llama-bpe, qwen2 and smollm are supported";
            let reason =
                format!("`{key}` is `{other}`; {known}; use the model's Hugging Face form");
            Err(TextError::tokenizer(gguf.path(), reason))
        }
    }
}

fn merges(gguf: &Gguf) -> Result<Vec<(String, String)>, TextError> {
    let key = "tokenizer.ggml.merges";
    let merge = |line: &String| {
        // A space can only be the separator: byte-level tokens spell it otherwise.
        let pair = line
            .split_once(' ')
            .filter(|(l, r)| !l.is_empty() && !r.is_empty());
        let fail = || TextError::tokenizer(gguf.path(), format!("`{key}` has the entry `{line}`"));
        pair.map(|(l, r)| (l.to_owned(), r.to_owned()))
            .ok_or_else(fail)
    };
    strings(gguf, key)?.iter().map(merge).collect()
}

fn scores(gguf: &Gguf) -> Result<Vec<f32>, TextError> {
    let key = "tokenizer.ggml.scores";
    let fail = |reason: &str| TextError::tokenizer(gguf.path(), format!("`{key}` {reason}"));
    let array = gguf.array(key)?.ok_or_else(|| fail("is missing"))?;
    let scores = array
        .f32s()
        .ok_or_else(|| fail("should be single-precision floats"))?;
    if scores.len() != strings(gguf, "tokenizer.ggml.tokens")?.len() {
        return Err(fail("does not have one entry for each token"));
    }
    Ok(scores.to_vec())
}

/// SentencePiece joins the neighbours whose union scores best; as merges: every way to make each
/// normal token of two others, by falling score. (Ways to make the same token follow each other,
/// by the ids of their parts.)
fn merges_by_score(tokens: &[Token], scores: &[f32]) -> Vec<(String, String)> {
    let joinable = |t: &Token| matches!(t.kind, NORMAL | USER_DEFINED);
    let ids: HashMap<&str, usize> = tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| joinable(t))
        .map(|(id, t)| (t.text.as_str(), id))
        .collect();
    let mut ways = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|(_, t)| joinable(t)) {
        for (at, _) in token.text.char_indices().skip(1) {
            let (left, right) = token.text.split_at(at);
            if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                ways.push((scores[id], id, l, r));
            }
        }
    }
    ways.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
    });
    let text = |id: usize| tokens[id].text.clone();
    ways.into_iter()
        .map(|(_, _, l, r)| (text(l), text(r)))
        .collect()
}
