//! From rows to token sequences.

use moreline_formats::rows::{PreferenceBody, PreferenceRow};
use moreline_protocol::rows::{FedRow, Message};
use moreline_protocol::spec::{Pairs, Pooling, Template, Truncation};
use moreline_text::dialogue::{self, parse_dialogue, split_response};
use moreline_text::{Framing, PromptForm, Specials, Tokenizer, render_full, render_prompt};
use serde::{Deserialize, Serialize};

use crate::error::WorkerError;

/// How a reward model's texts are made and where its reward is read; stored in
/// its `config.json` and obeyed wherever it scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardText {
    /// Where the reward is read.
    pub pooling: Pooling,
    /// How prompt and response become a text.
    pub template: Template,
    /// Longest text in tokens.
    pub max_length: u32,
    /// What happens to longer ones.
    pub truncation: Truncation,
}

impl RewardText {
    /// A sequence cut as in training, where every one has to get a reward:
    /// what training drops is cut on the left here.
    pub fn fit(&self, tokenizer: &Tokenizer, tokens: Vec<u32>) -> Sequence {
        let how = match self.truncation {
            Truncation::Drop => Truncation::Left,
            how => how,
        };
        let most = self.max_length as usize;
        truncate(tokens, most, how, Ends::of(tokenizer)).expect("nothing is dropped")
    }
}

/// The tokens of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Never empty.
    pub tokens: Vec<u32>,
    /// Tokens removed by truncation.
    pub truncated: usize,
}

impl Sequence {
    /// The sequence as `fed.jsonl` shows it: which response, if there are
    /// several, of which row of which set.
    ///
    /// # Errors
    /// Tokens that cannot be decoded.
    pub fn fed(
        &self,
        tokenizer: &Tokenizer,
        set: &str,
        row: usize,
        response: Option<usize>,
    ) -> Result<FedRow, WorkerError> {
        Ok(FedRow {
            set: set.to_owned(),
            row: row as u64,
            response: response.map(|number| number as u64),
            text: tokenizer.decode(&self.tokens, false)?,
            tokens: self.tokens.len() as u64,
            truncated: self.truncated as u64,
        })
    }
}

/// Turns rows into sequences for one model.
#[derive(Debug)]
pub struct Texts<'a> {
    tokenizer: &'a Tokenizer,
    template: Template,
}

/// A prompt and its response, tokenised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Prompt and response, special tokens included.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt within them: the response starts here.
    pub prompt: usize,
}

impl<'a> Texts<'a> {
    /// Texts in `template` for the model of `tokenizer`.
    pub fn new(tokenizer: &'a Tokenizer, template: Template) -> Self {
        Self {
            tokenizer,
            template,
        }
    }

    /// The form of rows that have a prompt of their own.
    pub fn form(&self) -> PromptForm {
        match self.template {
            Template::Raw => PromptForm::Raw,
            Template::HumanAssistant => PromptForm::HumanAssistant,
            Template::HashHuman => PromptForm::HashHuman,
            Template::Chat => PromptForm::Chat,
            Template::Auto if self.tokenizer.chat_template().is_some() => PromptForm::Chat,
            Template::Auto => PromptForm::HumanAssistant,
        }
    }

    /// The sequence a reward model reads for a whole published text.
    fn reward_of_text(&self, text: &str) -> Result<Vec<u32>, WorkerError> {
        if matches!(self.template, Template::Auto | Template::Raw) {
            let framed = self
                .tokenizer
                .encode_framed(text, Specials::Plain, Framing::REWARD)?;
            return Ok(framed);
        }
        let (prompt, response) = split_response(parse_dialogue(text)?)?;
        self.reward_of_messages(&prompt, &response)
    }

    /// The sequence a reward model reads for a response to a prompt.
    ///
    /// # Errors
    /// Roles that the template cannot express, a failing template.
    pub fn reward_of_reply(
        &self,
        prompt: &[Message],
        response: &str,
    ) -> Result<Vec<u32>, WorkerError> {
        self.reward_of_messages(&messages(prompt, self.form())?, response)
    }

    fn reward_of_messages(
        &self,
        prompt: &[dialogue::Message],
        response: &str,
    ) -> Result<Vec<u32>, WorkerError> {
        let form = self.form();
        let text = render_full(prompt, response, form, self.tokenizer)?;
        Ok(self
            .tokenizer
            .encode_framed(&text, specials(form), Framing::REWARD)?)
    }

    /// The responses of a preference row that are compared, and their scores.
    ///
    /// # Errors
    /// As [`Self::reward_of_reply`].
    pub fn preference(
        &self,
        row: &PreferenceRow,
        pairs: Pairs,
    ) -> Result<(Vec<Vec<u32>>, Vec<f64>), WorkerError> {
        let chosen = compared(&row.scores, pairs);
        let scores = chosen.iter().map(|&i| row.scores[i]).collect();
        let sequence = |&i: &usize| match &row.body {
            PreferenceBody::Texts(texts) => self.reward_of_text(&texts[i]),
            PreferenceBody::Replies { prompt, responses } => {
                self.reward_of_reply(prompt, &responses[i])
            }
        };
        let sequences = chosen.iter().map(sequence).collect::<Result<_, _>>()?;
        Ok((sequences, scores))
    }

    /// The tokens of a prompt, to be continued.
    ///
    /// # Errors
    /// As [`Self::reward_of_reply`].
    pub fn prompt(&self, prompt: &[Message]) -> Result<Vec<u32>, WorkerError> {
        let form = self.form();
        let text = render_prompt(&messages(prompt, form)?, form, self.tokenizer)?;
        Ok(self
            .tokenizer
            .encode_framed(&text, specials(form), Framing::PROMPT)?)
    }

    /// A prompt and its response, to be learnt or measured.
    ///
    /// # Errors
    /// As [`Self::reward_of_reply`].
    pub fn example(&self, prompt: &[Message], response: &str) -> Result<Example, WorkerError> {
        let form = self.form();
        let turns = messages(prompt, form)?;
        let text = render_full(&turns, response, form, self.tokenizer)?;
        let tokens = self
            .tokenizer
            .encode_framed(&text, specials(form), Framing::TRAINING)?;
        let prompt = self.prompt(prompt)?;
        // Tokens may merge across the border: the response starts where the
        // two tokenisations part.
        let shared = prompt
            .iter()
            .zip(&tokens)
            .take_while(|(a, b)| a == b)
            .count();
        Ok(Example {
            prompt: shared.min(tokens.len() - 1),
            tokens,
        })
    }
}

/// Special tokens are read as such only where a template writes them.
fn specials(form: PromptForm) -> Specials {
    match form {
        PromptForm::Chat => Specials::Parse,
        _ => Specials::Plain,
    }
}

/// A row's messages; a single text in published dialogue form is taken apart,
/// unless it is to be used as it stands.
fn messages(prompt: &[Message], form: PromptForm) -> Result<Vec<dialogue::Message>, WorkerError> {
    if let [only] = prompt
        && only.role == "user"
        && form != PromptForm::Raw
        && let Ok(parsed) = parse_dialogue(&only.content)
    {
        return Ok(parsed);
    }
    let convert = |message: &Message| {
        let role = match message.role.as_str() {
            "system" => dialogue::Role::System,
            "assistant" => dialogue::Role::Assistant,
            "user" => dialogue::Role::User,
            other => {
                return Err(WorkerError::input(
                    format!("use a message with the role `{other}`"),
                    "roles are `system`, `user` and `assistant`",
                ));
            }
        };
        Ok(dialogue::Message {
            role,
            content: message.content.clone(),
        })
    };
    prompt.iter().map(convert).collect()
}

/// Indices of the responses that take part.
pub fn compared(scores: &[f64], pairs: Pairs) -> Vec<usize> {
    if pairs == Pairs::FirstTwo {
        return (0..scores.len().min(2)).collect();
    }
    if pairs == Pairs::All || scores.len() <= 2 {
        return (0..scores.len()).collect();
    }
    let better = |a: usize, b: usize| if scores[b] > scores[a] { b } else { a };
    let worse = |a: usize, b: usize| if scores[b] < scores[a] { b } else { a };
    let best = (0..scores.len()).reduce(better).unwrap_or(0);
    let worst = (0..scores.len()).reduce(worse).unwrap_or(0);
    let mut pair = vec![best, worst];
    pair.sort_unstable();
    pair.dedup();
    pair
}

/// Cuts a sequence to `max_length`; `None` if it is to be left out.
pub fn truncate(
    tokens: Vec<u32>,
    max_length: usize,
    how: Truncation,
    ends: Ends,
) -> Option<Sequence> {
    let over = tokens.len().saturating_sub(max_length);
    if over == 0 {
        return Some(Sequence {
            tokens,
            truncated: 0,
        });
    }
    let tokens = match how {
        Truncation::Drop => return None,
        Truncation::LeftPublished => tokens[over..].to_vec(),
        Truncation::Left => {
            let kept = usize::from(ends.bos.is_some() && tokens.first().copied() == ends.bos);
            [&tokens[..kept], &tokens[over + kept..]].concat()
        }
        Truncation::Right => {
            let kept = usize::from(ends.eos.is_some() && tokens.last().copied() == ends.eos);
            [&tokens[..max_length - kept], &tokens[tokens.len() - kept..]].concat()
        }
    };
    Some(Sequence {
        tokens,
        truncated: over,
    })
}

/// What truncation took from a text that begins with `prompt` tokens of prompt
/// (BOS included): all of the prompt, or all of the response. The published
/// truncation knows of no prompt.
pub fn lost(cut: &Sequence, prompt: usize, how: Truncation, ends: Ends) -> Option<&'static str> {
    if cut.truncated == 0 {
        return None;
    }
    let first = usize::from(ends.bos.is_some() && cut.tokens.first().copied() == ends.bos);
    let last = usize::from(ends.eos.is_some() && cut.tokens.last().copied() == ends.eos);
    match how {
        Truncation::Left if prompt > first && first + cut.truncated >= prompt => {
            Some("without_prompt")
        }
        Truncation::Right if cut.tokens.len() - last <= prompt => Some("without_response"),
        _ => None,
    }
}

/// The special tokens that truncation keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// First token of a text.
    pub bos: Option<u32>,
    /// Last token of a text.
    pub eos: Option<u32>,
}

impl Ends {
    /// Those of a tokenizer.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        Self {
            bos: tokenizer.bos(),
            eos: tokenizer.eos(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends {
        bos: Some(1),
        eos: Some(2),
    };

    fn cut(how: Truncation) -> Option<Vec<u32>> {
        truncate(vec![1, 10, 11, 12, 13, 2], 4, how, ENDS).map(|s| s.tokens)
    }

    #[test]
    fn truncation_keeps_the_special_tokens_it_says() {
        assert_eq!(cut(Truncation::Left), Some(vec![1, 12, 13, 2]));
        assert_eq!(cut(Truncation::LeftPublished), Some(vec![11, 12, 13, 2]));
        assert_eq!(cut(Truncation::Right), Some(vec![1, 10, 11, 2]));
        assert_eq!(cut(Truncation::Drop), None);
    }

    #[test]
    fn a_text_that_lost_its_prompt_or_its_response_is_known() {
        let lost = |how, prompt| {
            let cut = truncate(vec![1, 10, 11, 12, 13, 2], 4, how, ENDS).unwrap();
            lost(&cut, prompt, how, ENDS)
        };
        // 10 and 11 are cut away.
        assert_eq!(lost(Truncation::Left, 3), Some("without_prompt"));
        assert_eq!(lost(Truncation::Left, 4), None);
        assert_eq!(lost(Truncation::Left, 1), None);
        assert_eq!(lost(Truncation::LeftPublished, 2), None);
        // 12 and 13 are.
        assert_eq!(lost(Truncation::Right, 3), Some("without_response"));
        assert_eq!(lost(Truncation::Right, 2), None);
        let whole = truncate(vec![1, 10, 2], 4, Truncation::Right, ENDS).unwrap();
        assert_eq!(super::lost(&whole, 2, Truncation::Right, ENDS), None);
    }

    #[test]
    fn best_and_worst_are_the_first_of_their_kind() {
        assert_eq!(compared(&[3.0, 9.0, 9.0, 1.0], Pairs::BestWorst), [1, 3]);
        assert_eq!(compared(&[3.0, 9.0, 1.0], Pairs::All), [0, 1, 2]);
        assert_eq!(compared(&[5.0, 5.0, 5.0], Pairs::BestWorst), [0]);
    }

    #[test]
    fn the_first_two_are_those_listed_first() {
        assert_eq!(compared(&[3.0, 9.0, 9.0, 1.0], Pairs::FirstTwo), [0, 1]);
        assert_eq!(compared(&[3.0], Pairs::FirstTwo), [0]);
    }
}
