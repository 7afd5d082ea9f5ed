//! What an endpoint's calls use, what that costs, and the limits of both.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::journal::Entry;
use crate::config::Endpoint;
use crate::judge::JudgeError;
use crate::store::ApiCost;

/// Tokens that a price is for.
const PRICED: f64 = 1e6;

/// Tokens of a call as the endpoint counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Of the prompt.
    pub(crate) prompt: u64,
    /// Of the reply.
    pub(crate) reply: u64,
}

impl Usage {
    /// What an answer reports; none if the two cannot be told apart.
    pub(crate) fn reported(answer: &Value) -> Option<Self> {
        let count = |name: &str| answer["usage"][name].as_u64();
        let prompt = count("prompt_tokens")?;
        let rest = || count("total_tokens")?.checked_sub(prompt);
        let reply = count("completion_tokens").or_else(rest)?;
        Some(Self { prompt, reply })
    }

    /// Both together.
    pub(crate) fn total(self) -> u64 {
        self.prompt.saturating_add(self.reply)
    }
}

/// What calls used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Spent {
    tokens: u64,
    /// Of the calls whose tokens were reported.
    priced: Usage,
    /// Calls whose tokens were not.
    unpriced: u64,
}

impl Spent {
    fn add(&mut self, tokens: u64, usage: Option<Usage>) {
        self.tokens = self.tokens.saturating_add(tokens);
        match usage {
            Some(usage) => {
                self.priced.prompt = self.priced.prompt.saturating_add(usage.prompt);
                self.priced.reply = self.priced.reply.saturating_add(usage.reply);
            }
            None => self.unpriced += 1,
        }
    }
}

/// What a judge's calls may use, and what they did, earlier runs included.
pub(super) struct Budget {
    /// For tokens of prompts and of replies.
    prices: Option<(f64, f64)>,
    currency: String,
    token_limit: Option<u64>,
    money_limit: Option<f64>,
    spent: Mutex<Spent>,
}

impl Budget {
    /// The budget of an endpoint, of which these calls were made.
    pub(super) fn new<'a>(endpoint: &Endpoint, done: impl Iterator<Item = &'a Entry>) -> Self {
        let mut spent = Spent::default();
        done.for_each(|entry| spent.add(entry.tokens, entry.usage));
        Self {
            prices: endpoint.price_in.zip(endpoint.price_out),
            currency: endpoint.currency.clone(),
            token_limit: endpoint.token_limit,
            money_limit: endpoint.money_limit,
            spent: Mutex::new(spent),
        }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call.
    pub(super) fn add(&self, tokens: u64, usage: Option<Usage>) {
        self.spent().add(tokens, usage);
    }

    /// True if no further call may be begun.
    pub(super) fn is_reached(&self) -> bool {
        self.reached(0, 0).is_some()
    }

    /// The limit that is reached, if one is.
    pub(super) fn reached(&self, done: usize, total: usize) -> Option<JudgeError> {
        let spent = self.spent().tokens;
        if let Some(limit) = self.token_limit.filter(|limit| spent >= *limit) {
            return Some(JudgeError::TokenLimit {
                spent,
                limit,
                done,
                total,
            });
        }
        let limit = self.money_limit?;
        let cost = self.cost().filter(|cost| cost.amount >= limit)?;
        Some(JudgeError::MoneyLimit {
            cost,
            limit,
            done,
            total,
        })
    }

    /// True if there is a limit that does not see calls without a price.
    pub(super) fn limits_money(&self) -> bool {
        self.money_limit.is_some()
    }

    /// Tokens of all calls.
    pub(super) fn tokens(&self) -> u64 {
        self.spent().tokens
    }

    /// What the calls cost, if there are prices.
    pub(super) fn cost(&self) -> Option<ApiCost> {
        let (price_in, price_out) = self.prices?;
        let spent = self.spent();
        let Usage { prompt, reply } = spent.priced;
        Some(ApiCost {
            amount: (prompt as f64 * price_in + reply as f64 * price_out) / PRICED,
            currency: self.currency.clone(),
            unpriced_calls: spent.unpriced,
        })
    }
}
