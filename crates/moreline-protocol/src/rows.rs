//! Records inside artifacts, one JSON object per line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

impl Message {
    /// A message of the user's.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".into(),
            content: content.into(),
        }
    }
}

/// Responses to one prompt ([`crate::artifact::RESPONSES`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseRow {
    /// Index of the prompt within its set, from 0.
    pub id: u64,
    /// The conversation up to the response.
    pub prompt: Vec<Message>,
    /// The samples, in order of their sample index.
    pub responses: Vec<Response>,
    /// The reference answer of the prompt set, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// One sampled response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The text, without special tokens.
    pub text: String,
    /// Number of tokens generated, the stop token included.
    #[serde(default)]
    pub tokens: u64,
    /// Why it ended.
    #[serde(default)]
    pub finish: Finish,
    /// Summed log-probability (nats) of its tokens under the sampling model at
    /// temperature 1, unfiltered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprob: Option<f64>,
    /// Reward, once scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// Why a response ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// An end token or a stop string.
    #[default]
    Stop,
    /// The token limit.
    Length,
}

/// A prompt and the response to imitate ([`crate::artifact::EXAMPLES`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExampleRow {
    /// The conversation up to the response.
    pub prompt: Vec<Message>,
    /// The response.
    pub response: String,
    /// Its reward, if it was selected by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// One optimiser step of a training ([`crate::artifact::HISTORY`]), or the
/// evaluation before the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// From 1; 0 is before the first step.
    pub step: u64,
    /// `loss`, `accuracy`, `margin`, `reward_mean`, `reward_std`, `grad_norm`,
    /// `lr`, `tokens`, `tokens_saved` (the share of them that sharing saves);
    /// for each set `loss/SET`, `accuracy/SET`, `weight/SET`; and where the
    /// model was evaluated after the step `eval/loss`, `eval/SET/accuracy`, ...
    #[serde(flatten)]
    pub values: BTreeMap<String, f64>,
}

/// Text really fed to a model ([`crate::artifact::FED`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FedRow {
    /// The input it came from.
    pub set: String,
    /// Row within the input, from 0.
    pub row: u64,
    /// Which response of the row, from 0; absent for prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<u64>,
    /// The tokens decoded back to text, special tokens shown.
    pub text: String,
    /// Number of tokens, special ones included.
    pub tokens: u64,
    /// Tokens that truncation removed.
    #[serde(default)]
    pub truncated: u64,
}

/// One record of `evaluate-reward` ([`crate::artifact::RECORDS`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRow {
    /// The preference set.
    pub set: String,
    /// Row within the set, from 0.
    pub row: u64,
    /// Scores of the responses in the data.
    pub scores: Vec<f64>,
    /// Rewards of the responses; of several models those they combine to.
    pub rewards: Vec<f64>,
    /// Tokens of the responses fed, prompt included; of several models those of the first.
    pub tokens: Vec<u64>,
    /// Rewards by each of several models.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Vec<f64>>,
    /// The pairs of responses whose scores differ.
    #[serde(default)]
    pub pairs: Vec<PairRow>,
}

/// Two responses of an [`EvaluationRow`], the one with the higher score against the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairRow {
    /// Index of the response with the higher score.
    pub better: u64,
    /// Index of the other.
    pub worse: u64,
    /// Reward of the better minus reward of the worse.
    pub margin: f64,
    /// Logistic function of the margin: how likely the model takes the better to be.
    pub probability: f64,
    /// 1 if the better has the higher reward, a half for equal rewards, else 0.
    pub correct: f64,
}

/// One record of `perplexity` ([`crate::artifact::RECORDS`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerplexityRow {
    /// The input set.
    pub set: String,
    /// Row within the set, from 0.
    pub row: u64,
    /// Summed log-probability of the counted tokens, in nats.
    pub logprob: f64,
    /// Number of counted tokens.
    pub tokens: u64,
}

/// Rewards of an embedded judge for one prompt ([`crate::artifact::JUDGED`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedRow {
    /// Index of the prompt.
    pub id: u64,
    /// The conversation up to the response.
    pub prompt: Vec<Message>,
    /// Response of side A.
    pub a: String,
    /// Response of side B.
    pub b: String,
    /// Reward of A.
    pub reward_a: f64,
    /// Reward of B.
    pub reward_b: f64,
}

/// A judge's verdict on one prompt ([`crate::artifact::VERDICTS`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// Index of the prompt.
    pub id: u64,
    /// The conversation up to the response.
    pub prompt: Vec<Message>,
    /// Response of side A.
    pub a: String,
    /// Response of side B.
    pub b: String,
    /// The outcome for A over both orders.
    pub verdict: Verdict,
    /// The outcome for A when A was shown first, then when B was; absent for
    /// an embedded judge, which sees one response at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<[Verdict; 2]>,
    /// Rewards of A and B, for an embedded judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewards: Option<[f64; 2]>,
    /// What a remote judge wrote, for each order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<String>,
}

/// Outcome of a comparison, seen from side A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A is better.
    Win,
    /// Neither is better, or the two orders disagree.
    Tie,
    /// B is better.
    Loss,
    /// The judge's reply could not be read; kept apart from ties.
    Unparsed,
}
