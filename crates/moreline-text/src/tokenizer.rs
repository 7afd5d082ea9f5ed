//! Text to ids and back.

use std::path::Path;

use crate::chat_template::ChatTemplate;
use crate::error::TextError;

/// What happens to text that spells a special token, such as `<|im_end|>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// It becomes the special token (rendered templates).
    Parse,
    /// It is ordinary text (what users or data wrote).
    Plain,
}

/// Whether BOS is put in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bos {
    /// If the tokenizer has one.
    Always,
    /// If the tokenizer's files say that it adds one.
    AsConfigured,
    /// Never.
    Never,
}

/// Which special tokens go around a text. A token that the text already begins or ends with is not
/// added a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// In front.
    pub bos: Bos,
    /// EOS at the end, if the tokenizer has one.
    pub eos: bool,
}

impl Framing {
    /// What a reward model reads: BOS (if there is one) + text + EOS.
    pub const REWARD: Self = Self { bos: Bos::Always, eos: true };
    /// A prompt to be continued: BOS as the tokenizer's files say, no EOS.
    pub const PROMPT: Self = Self { bos: Bos::AsConfigured, eos: false };
    /// Prompt and response to learn from: as [`Framing::PROMPT`], closed by EOS.
    pub const TRAINING: Self = Self { bos: Bos::AsConfigured, eos: true };
}

/// A tokenizer with the special tokens and the chat template of its model.
#[derive(Debug)]
pub struct Tokenizer {}

impl Tokenizer {
    /// Loads the tokenizer of a model: from a Hugging Face directory (`tokenizer.json`, with
    /// `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json`, `config.json`
    /// and `chat_template.jinja` where they exist) or from the metadata of a `.gguf` file.
    ///
    /// # Errors
    /// Missing or malformed files, unknown vocabulary or pre-tokenizer types, a malformed template.
    pub fn load(model_path: &Path) -> Result<Self, TextError> { let _ = model_path; todo!() }

    /// Writes the tokenizer into a directory that transformers opens: the source's own files where
    /// it was one, else `tokenizer.json` and `tokenizer_config.json` made from the GGUF metadata.
    ///
    /// # Errors
    /// The system's errors.
    pub fn save(&self, dir: &Path) -> Result<(), TextError> { let _ = dir; todo!() }

    /// Refuses a tokenizer whose largest id does not fit a model with `vocab_size` embeddings.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`], naming both.
    pub fn check_fits(&self, vocab_size: usize) -> Result<(), TextError> { let _ = vocab_size; todo!() }

    /// The ids of a text, nothing added.
    ///
    /// # Errors
    /// A text that the vocabulary cannot express.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>, TextError> { let _ = (text, specials); todo!() }

    /// The ids of a text with special tokens around it, each at most once.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_framed(&self, text: &str, specials: Specials, framing: Framing) -> Result<Vec<u32>, TextError> { let _ = (text, specials, framing); todo!() }

    /// The text of ids; `skip_special` leaves special tokens out. Incomplete characters become the
    /// replacement character.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> { let _ = (ids, skip_special); todo!() }

    /// The beginning-of-sequence id.
    pub fn bos(&self) -> Option<u32> { todo!() }

    /// The end-of-sequence id.
    pub fn eos(&self) -> Option<u32> { todo!() }

    /// The padding id.
    pub fn pad(&self) -> Option<u32> { todo!() }

    /// Whether the tokenizer's files say that BOS is put in front of a text.
    pub fn adds_bos(&self) -> bool { todo!() }

    /// The number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize { todo!() }

    /// The text of one id as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> { let _ = id; todo!() }

    /// The source of the model's chat template.
    pub fn chat_template(&self) -> Option<&str> { todo!() }

    /// The model's chat template, ready to render.
    pub fn template(&self) -> Option<&ChatTemplate> { todo!() }
}
