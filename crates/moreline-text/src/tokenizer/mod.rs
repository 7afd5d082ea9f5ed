//! Text to ids and back.

mod framing;
mod from_gguf;
mod from_hf;
mod vocabulary;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use moreline_formats::weights::is_gguf;

pub use framing::{Bos, Framing, Specials};

use crate::chat_template::ChatTemplate;
use crate::error::TextError;

/// A tokenizer with the special tokens and the chat template of its model.
#[derive(Debug)]
pub struct Tokenizer {
    path: PathBuf,
    source: Source,
    /// Recognises special tokens in text.
    parsing: tokenizers::Tokenizer,
    /// Takes them as ordinary text; made when first asked for.
    plain: OnceLock<tokenizers::Tokenizer>,
    largest: u32,
    /// Number of ids: the library counts by copying its whole vocabulary.
    size: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    stops: Vec<u32>,
    adds_bos: bool,
    template: Option<ChatTemplate>,
}

/// What [`Tokenizer::save`] writes.
#[derive(Debug)]
enum Source {
    /// The directory's own files.
    Directory,
    /// Files by name, made from the metadata.
    Gguf(Vec<(&'static str, Vec<u8>)>),
}

/// What the readers of either source find.
struct Parts {
    source: Source,
    inner: tokenizers::Tokenizer,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    stops: Vec<u32>,
    /// What the files say beside the post-processor.
    adds_bos: Option<bool>,
    template: Option<String>,
}

impl Tokenizer {
    /// Loads the tokenizer of a model: from a Hugging Face directory (`tokenizer.json`, with
    /// `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json`, `config.json`
    /// and `chat_template.jinja` where they exist) or from the metadata of a `.gguf` file.
    ///
    /// # Errors
    /// Missing or malformed files, unknown vocabulary or pre-tokenizer types, a malformed template.
    pub fn load(model_path: &Path) -> Result<Self, TextError> {
        let parts = if is_gguf(model_path) {
            from_gguf::load(model_path)
        } else {
            from_hf::load(model_path)
        }?;
        Self::assemble(model_path, parts)
    }

    fn assemble(path: &Path, parts: Parts) -> Result<Self, TextError> {
        let mut inner = parts.inner;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| TextError::tokenizer(path, e))?;
        let vocabulary = inner.get_vocab(true);
        let Some(&largest) = vocabulary.values().max() else {
            return Err(TextError::tokenizer(path, "its vocabulary is empty"));
        };
        for (name, id) in [("BOS", parts.bos), ("EOS", parts.eos)] {
            if let Some(id) = id.filter(|&id| inner.id_to_token(id).is_none()) {
                let reason = format!("its {name} id {id} is not in its vocabulary");
                return Err(TextError::tokenizer(path, reason));
            }
        }
        let text = |id: Option<u32>| id.and_then(|id| inner.id_to_token(id)).unwrap_or_default();
        let template = parts
            .template
            .map(|source| ChatTemplate::new(&source, &text(parts.bos), &text(parts.eos)))
            .transpose()?;
        let adds_bos = parts.bos.is_some()
            && match parts.adds_bos {
                Some(adds) => adds,
                None => processor_adds(&inner, parts.bos),
            };
        Ok(Self {
            path: path.to_owned(),
            source: parts.source,
            parsing: inner,
            plain: OnceLock::new(),
            largest,
            size: vocabulary.len(),
            bos: parts.bos,
            eos: parts.eos,
            pad: parts.pad,
            stops: parts.stops,
            adds_bos,
            template,
        })
    }

    /// Writes the tokenizer into a directory that transformers opens: the source's own files where
    /// it was one, else `tokenizer.json` and `tokenizer_config.json` made from the GGUF metadata.
    ///
    /// # Errors
    /// The system's errors.
    pub fn save(&self, dir: &Path) -> Result<(), TextError> {
        match &self.source {
            Source::Directory => from_hf::copy_files(&self.path, dir),
            Source::Gguf(files) => files.iter().try_for_each(|(name, bytes)| {
                let path = dir.join(name);
                std::fs::write(&path, bytes).map_err(|e| TextError::io("write", &path, e))
            }),
        }
    }

    /// Refuses a tokenizer whose largest id does not fit a model with `vocab_size` embeddings.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`], naming both.
    pub fn check_fits(&self, vocab_size: usize) -> Result<(), TextError> {
        if (self.largest as usize) < vocab_size {
            return Ok(());
        }
        Err(TextError::Vocabulary {
            path: self.path.clone(),
            largest: self.largest,
            token: self.token(self.largest).unwrap_or_default(),
            vocab_size,
        })
    }

    /// The ids of a text, nothing added.
    ///
    /// # Errors
    /// A text that the vocabulary cannot express.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>, TextError> {
        let inner = match specials {
            Specials::Parse => &self.parsing,
            Specials::Plain => self.plain.get_or_init(|| {
                let mut plain = self.parsing.clone();
                plain.set_encode_special_tokens(true);
                plain
            }),
        };
        let encoding = inner
            .encode_fast(text, false)
            .map_err(|e| self.coding("encode a text", e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text with special tokens around it, each at most once.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_framed(
        &self,
        text: &str,
        specials: Specials,
        framing: Framing,
    ) -> Result<Vec<u32>, TextError> {
        let bos = match framing.bos {
            Bos::Always => self.bos,
            Bos::AsConfigured => self.bos.filter(|_| self.adds_bos),
            Bos::Never => None,
        };
        let eos = self.eos.filter(|_| framing.eos);
        Ok(framing::surround(self.encode(text, specials)?, bos, eos))
    }

    /// The text of ids; `skip_special` leaves special tokens out. Incomplete characters become the
    /// replacement character, ids outside the vocabulary nothing.
    ///
    /// # Errors
    /// A decoder that fails.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> {
        self.parsing
            .decode(ids, skip_special)
            .map_err(|e| self.coding("decode ids", e))
    }

    fn coding(&self, action: &'static str, reason: impl ToString) -> TextError {
        TextError::Coding {
            action,
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }

    /// The beginning-of-sequence id.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The end-of-sequence id.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The padding id.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// The ids at which generation stops: EOS, and what `generation_config.json` or the GGUF
    /// metadata (end of turn) names beside it. Without duplicates.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stops
    }

    /// Whether the tokenizer's files say that BOS is put in front of a text.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.size
    }

    /// The text of one id as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.parsing.id_to_token(id)
    }

    /// The id of a token as the vocabulary spells it, such as `<|im_end|>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.parsing.token_to_id(token)
    }

    /// The source of the model's chat template.
    pub fn chat_template(&self) -> Option<&str> {
        self.template.as_ref().map(ChatTemplate::source)
    }

    /// The model's chat template, ready to render.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// The directory or file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the post-processor puts BOS in front.
fn processor_adds(inner: &tokenizers::Tokenizer, bos: Option<u32>) -> bool {
    let first = |special| {
        inner
            .encode_fast("a", special)
            .ok()
            .and_then(|e| e.get_ids().first().copied())
    };
    bos.is_some() && first(true) == bos && first(false) != bos
}

/// EOS and further ids, each once.
fn stop_ids(eos: Option<u32>, more: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut stops = Vec::new();
    for id in eos.into_iter().chain(more) {
        if !stops.contains(&id) {
            stops.push(id);
        }
    }
    stops
}
