//! Errors of judging.

use std::io;
use std::path::PathBuf;

use crate::engine::StageFailure;
use crate::records::RecordsError;
use crate::store::{ApiCost, amount};

/// Why a judge failed. Messages complete "failed to ..."; none holds a key.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// Inputs or outputs.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A file could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The worker's rewards are not what they should be.
    #[error("read the rewards in {}: line {line}: {reason}", path.display())]
    Judged {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The two sides do not answer the same prompts.
    #[error("match the responses of `{a}` and `{b}`: {reason}")]
    Unmatched {
        /// Side A.
        a: String,
        /// Side B.
        b: String,
        /// What is missing or differs.
        reason: String,
    },
    /// A setting of the stage or the site file is missing or wrong.
    #[error("set up the judge: {reason}")]
    Setup {
        /// What is missing.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// The endpoint did not give an answer that can be used.
    #[error("judge prompt {id} at {url}: {reason}")]
    Endpoint {
        /// The prompt.
        id: u64,
        /// The endpoint's URL.
        url: String,
        /// What it said, the key removed.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// The token limit is reached.
    #[error(
        "judge all prompts: the {spent} tokens used reach the endpoint's `token_limit` of {limit}; \
         {done} of {total} calls are done and kept"
    )]
    TokenLimit {
        /// Tokens used so far, earlier runs included.
        spent: u64,
        /// The limit.
        limit: u64,
        /// Calls done.
        done: usize,
        /// Calls in all.
        total: usize,
    },
    /// The money limit is reached.
    #[error(
        "judge all prompts: the calls cost {cost}, which reaches the endpoint's `money_limit` of \
         {}; {done} of {total} calls are done and kept", amount(*limit)
    )]
    MoneyLimit {
        /// What the calls cost so far, earlier runs included.
        cost: ApiCost,
        /// The limit, in the same currency.
        limit: f64,
        /// Calls done.
        done: usize,
        /// Calls in all.
        total: usize,
    },
    /// The run was stopped.
    #[error("judge all prompts: stopped; {done} of {total} calls are done and kept")]
    Stopped {
        /// Calls done.
        done: usize,
        /// Calls in all.
        total: usize,
    },
}

impl JudgeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Records(error) => error.hint(),
            Self::Setup { hint, .. } | Self::Endpoint { hint, .. } => Some(hint.clone()),
            Self::Unmatched { .. } => {
                Some("let both sides answer the same prompt set with the same `limit`".into())
            }
            Self::TokenLimit { .. } => Some(
                "raise `token_limit` in the site file and run again: finished calls are not \
                 repeated"
                    .into(),
            ),
            Self::MoneyLimit { .. } => Some(
                "raise `money_limit` in the site file and run again: finished calls are not \
                 repeated"
                    .into(),
            ),
            Self::Stopped { .. } => {
                Some("run again to go on: finished calls are not repeated".into())
            }
            Self::Io { .. } | Self::Judged { .. } => None,
        }
    }
}

impl From<JudgeError> for StageFailure {
    fn from(error: JudgeError) -> Self {
        let failure = Self::new(error.to_string());
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}
