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
    pub fn new() -> Self { Self::default() }

    /// Takes the next id and returns the text that is now certain: empty while a character is
    /// incomplete. Special tokens are skipped.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, TextError> { let _ = (tokenizer, id); todo!() }

    /// What remains: the bytes of an incomplete character, as the replacement character.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String, TextError> { let _ = tokenizer; todo!() }
}
