//! Which special tokens surround a text.

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
    pub const REWARD: Self = Self {
        bos: Bos::Always,
        eos: true,
    };
    /// A prompt to be continued: BOS as the tokenizer's files say, no EOS.
    pub const PROMPT: Self = Self {
        bos: Bos::AsConfigured,
        eos: false,
    };
    /// Prompt and response to learn from: as [`Framing::PROMPT`], closed by EOS.
    pub const TRAINING: Self = Self {
        bos: Bos::AsConfigured,
        eos: true,
    };
}

/// Puts `bos` in front and `eos` behind unless they are there. Where both are one id, a text of
/// that single token counts as begun but not as ended.
pub(super) fn surround(mut ids: Vec<u32>, bos: Option<u32>, eos: Option<u32>) -> Vec<u32> {
    let begins = bos.is_none() || ids.first().copied() == bos;
    let shared = begins && bos == eos && ids.len() == 1;
    let ends = eos.is_none() || (ids.last().copied() == eos && !shared);
    if let (false, Some(eos)) = (ends, eos) {
        ids.push(eos);
    }
    if let (false, Some(bos)) = (begins, bos) {
        ids.insert(0, bos);
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::surround;

    #[test]
    fn tokens_are_added_once() {
        for ids in [vec![5, 6], vec![1, 5, 6], vec![5, 6, 2], vec![1, 5, 6, 2]] {
            assert_eq!(surround(ids, Some(1), Some(2)), [1, 5, 6, 2]);
        }
        assert_eq!(surround(vec![], Some(1), Some(2)), [1, 2]);
        assert_eq!(surround(vec![5], None, None), [5]);
    }

    #[test]
    fn one_id_for_both_is_added_on_each_side() {
        assert_eq!(surround(vec![5], Some(0), Some(0)), [0, 5, 0]);
        assert_eq!(surround(vec![], Some(0), Some(0)), [0, 0]);
        assert_eq!(surround(vec![0], Some(0), Some(0)), [0, 0]);
        assert_eq!(surround(vec![0, 5], Some(0), Some(0)), [0, 5, 0]);
    }
}
