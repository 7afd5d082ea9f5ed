//! When a response ends, and its text.

use std::collections::BTreeSet;

use moreline_formats::ModelConfig;
use moreline_text::{Message, PromptForm, Role, Specials, StreamDecoder, Tokenizer, render_full};

use crate::error::WorkerError;

/// What ends a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ends {
    tokens: BTreeSet<u32>,
    strings: Vec<String>,
    /// Bytes of the longest string.
    longest: usize,
}

impl Ends {
    /// The end tokens of a model, its tokenizer and its generation settings, the
    /// token that closes a turn of its chat template, and these strings.
    pub(super) fn new(config: &ModelConfig, tokenizer: &Tokenizer, strings: &[String]) -> Self {
        let tokens = config.eos_ids.iter().copied();
        let tokens = tokens
            .chain(tokenizer.stop_ids().iter().copied())
            .chain(end_of_turn(tokenizer))
            .collect();
        let strings = strings.iter().filter(|s| !s.is_empty()).cloned().collect();
        Self::of(tokens, strings)
    }

    fn of(tokens: BTreeSet<u32>, strings: Vec<String>) -> Self {
        let longest = strings.iter().map(String::len).max().unwrap_or(0);
        Self {
            tokens,
            strings,
            longest,
        }
    }

    /// Where the first string begins, given that none begins and ends within
    /// the first `searched` bytes.
    fn find(&self, text: &str, searched: usize) -> Option<usize> {
        let from = (searched + 1).saturating_sub(self.longest);
        let from = text.floor_char_boundary(from);
        let found = self
            .strings
            .iter()
            .filter_map(|s| text[from..].find(s.as_str()));
        found.min().map(|at| from + at)
    }
}

/// The special token that a chat template writes after a reply.
fn end_of_turn(tokenizer: &Tokenizer) -> Option<u32> {
    const REPLY: &str = "Reply.";
    tokenizer.chat_template()?;
    let prompt = [Message {
        role: Role::User,
        content: "Question?".into(),
    }];
    // A template that refuses this dialogue tells nothing.
    let text = render_full(&prompt, REPLY, PromptForm::Chat, tokenizer).ok()?;
    let (_, after) = text.rsplit_once(REPLY)?;
    let ids = tokenizer.encode(after.trim_start(), Specials::Parse).ok()?;
    let first = *ids.first()?;
    let special = tokenizer.decode(&[first], true).ok()?.is_empty();
    special.then_some(first)
}

/// The text of a response while it grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Transcript {
    decoder: StreamDecoder,
    text: String,
}

impl Transcript {
    /// Takes a token; whether the response ends with it. A string that ends it
    /// is cut off.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub(super) fn push(
        &mut self,
        token: u32,
        ends: &Ends,
        tokenizer: &Tokenizer,
    ) -> Result<bool, WorkerError> {
        if ends.tokens.contains(&token) {
            return Ok(true);
        }
        // Embeddings are often padded: ids beyond the vocabulary have no text.
        if token as usize >= tokenizer.vocab_size() {
            return Ok(false);
        }
        let piece = self.decoder.push(tokenizer, token)?;
        Ok(self.append(&piece, ends))
    }

    fn append(&mut self, piece: &str, ends: &Ends) -> bool {
        let searched = self.text.len();
        self.text.push_str(piece);
        let found = ends.find(&self.text, searched);
        if let Some(at) = found {
            self.text.truncate(at);
            self.decoder = StreamDecoder::new();
        }
        found.is_some()
    }

    /// The text, once no more tokens come.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub(super) fn finish(mut self, tokenizer: &Tokenizer) -> Result<String, WorkerError> {
        let rest = self.decoder.finish(tokenizer)?;
        self.text.push_str(&rest);
        Ok(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(strings: &[&str]) -> Ends {
        Ends::of(
            BTreeSet::new(),
            strings.iter().map(|s| s.to_string()).collect(),
        )
    }

    fn grow(pieces: &[&str], ends: &Ends) -> (usize, String) {
        let mut transcript = Transcript::default();
        let end = pieces
            .iter()
            .position(|piece| transcript.append(piece, ends));
        (end.map_or(pieces.len(), |i| i + 1), transcript.text)
    }

    #[test]
    fn a_stop_string_is_found_across_pieces_and_cut_off() {
        let ends = ends(&["\n\nHuman:"]);
        let pieces = ["Yes é", ".\n", "\nHu", "man", ": No", "more"];
        assert_eq!(grow(&pieces, &ends), (5, "Yes é.".into()));
    }

    #[test]
    fn the_earliest_of_several_strings_counts() {
        let ends = ends(&["cd", "bcde", "日本"]);
        assert_eq!(grow(&["abcdef"], &ends), (1, "a".into()));
        assert_eq!(grow(&["日", "日", "本"], &ends), (3, "日".into()));
    }

    #[test]
    fn without_strings_nothing_is_cut() {
        assert_eq!(grow(&["a", "b", ""], &ends(&[])), (3, "ab".into()));
    }
}
