//! Decoding while ids arrive.

use crate::error::TextError;
use crate::tokenizer::Tokenizer;

/// Turns a growing sequence of ids into text piece by piece, never splitting a character.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    ids: Vec<u32>,
    /// Ids before this one no longer matter for what follows.
    context: usize,
    /// Ids before this one have been handed out as text.
    done: usize,
}

impl StreamDecoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next id and returns the text that is now certain: empty while a character is
    /// incomplete. Special tokens are skipped.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, TextError> {
        self.ids.push(id);
        let text = self.pending(tokenizer)?;
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.context = self.done;
        self.done = self.ids.len();
        Ok(text)
    }

    /// What remains: the bytes of an incomplete character, as the replacement character.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String, TextError> {
        let text = self.pending(tokenizer)?;
        self.context = self.ids.len();
        self.done = self.ids.len();
        Ok(text)
    }

    /// The text of the ids not handed out yet. They are decoded behind the ones before them: some
    /// decoders treat the first token differently.
    fn pending(&self, tokenizer: &Tokenizer) -> Result<String, TextError> {
        let before = tokenizer.decode(&self.ids[self.context..self.done], true)?;
        let mut all = tokenizer.decode(&self.ids[self.context..], true)?;
        let start = (0..=before.len().min(all.len()))
            .rev()
            .find(|&i| all.is_char_boundary(i));
        Ok(all.split_off(start.unwrap_or(0)))
    }
}
