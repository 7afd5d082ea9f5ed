//! A judge behind an OpenAI-compatible endpoint.
//!
//! Every pair is shown in both orders. Each finished call is a line of a
//! journal in the job's partial directory before it counts, so a judge that is
//! killed, stopped or out of tokens or money repeats none of them.

mod budget;
mod client;
mod journal;
mod pairs;
mod pool;
mod prompt;
mod reply;
mod secret;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use moreline_protocol::artifact::VERDICTS;
use moreline_protocol::event::{Event, Level};
use moreline_protocol::job::Job;
use moreline_protocol::rows::{Verdict, VerdictRow};
use moreline_protocol::spec::Judge;
use serde_json::json;

use self::budget::Budget;
use self::client::Client;
use self::journal::{Entry, Journal};
use self::pairs::Pair;
use self::prompt::Call;
use self::secret::Secret;
use super::JudgeError;
use super::summary::summarise;
use crate::config::{Endpoint, Site};
use crate::engine::Finished;
use crate::records::write_rows;
use crate::store::ApiCost;

/// Name of the journal in the partial directory.
const JOURNAL: &str = "judge-calls.jsonl";

/// Whom to ask, and what.
pub struct Remote {
    spec: Judge,
    model: String,
    endpoint: Endpoint,
    client: Arc<Client>,
}

impl Remote {
    /// Finds the stage's endpoint in the site file and its key by the name of
    /// its environment variable.
    ///
    /// # Errors
    /// No such endpoint, a variable that is not set, an unusable URL.
    pub fn new(
        spec: &Judge,
        site: &Site,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, JudgeError> {
        let name = spec.endpoint.as_deref().unwrap_or_default();
        let endpoint = site.endpoint.get(name).ok_or_else(|| {
            setup(
                format!("the site file has no endpoint `{name}`"),
                format!("add a table [endpoint.{name}] with its `url` to moreline.toml"),
            )
        })?;
        let model = spec.judge_model.clone().ok_or_else(|| {
            setup(
                "`judge_model` is not set",
                "name the model that the endpoint shall judge with",
            )
        })?;
        let key = endpoint.key_env.as_deref().map(|variable| {
            let value = lookup(variable).filter(|value| !value.trim().is_empty());
            value.map(Secret::new).ok_or_else(|| {
                setup(
                    format!("the environment variable {variable} is not set"),
                    format!("put the key of endpoint `{name}` into {variable}"),
                )
            })
        });
        Ok(Self {
            spec: spec.clone(),
            model,
            endpoint: endpoint.clone(),
            client: Arc::new(Client::new(endpoint, key.transpose()?)?),
        })
    }

    /// The same with another first wait before a retry.
    #[cfg(test)]
    pub(crate) fn with_backoff(mut self, backoff: std::time::Duration) -> Self {
        if let Some(client) = Arc::get_mut(&mut self.client) {
            client.backoff = backoff;
        }
        self
    }
}

fn setup(reason: impl Into<String>, hint: impl Into<String>) -> JudgeError {
    JudgeError::Setup {
        reason: reason.into(),
        hint: hint.into(),
    }
}

/// Judges the first response of side A against that of side B for every
/// prompt, writes the verdicts and returns the metrics, and what the calls cost.
///
/// # Errors
/// Sides that do not match, an endpoint that fails for good, a limit of tokens
/// or money, or `cancel`: in each case finished calls are kept for the next run.
pub fn judge_remote(
    job: &Job,
    remote: &Remote,
    cancel: &AtomicBool,
    progress: &dyn Fn(Event),
) -> Result<Finished, JudgeError> {
    let pairs = pairs::read(job, &remote.spec)?;
    let calls = prompt::calls(&remote.model, &remote.spec.criterion, &pairs);
    let path = job.partial_dir.join(JOURNAL);
    let (mut journal, earlier) = Journal::open(&path)?;
    let mut done: BTreeMap<Call, Entry> = earlier
        .into_iter()
        .filter(|entry| {
            calls
                .get(&entry.call)
                .is_some_and(|r| r.digest == entry.request)
        })
        .map(|entry| (entry.call, entry))
        .collect();
    let resumed = done.len();
    pool::run(remote, &calls, &mut done, (cancel, progress), |entry| {
        journal.append(entry)
    })?;
    let verdicts: Vec<_> = pairs.into_iter().map(|pair| verdict(pair, &done)).collect();
    write_rows(&job.output_dir, VERDICTS, &verdicts)?;
    let unparsed = verdicts
        .iter()
        .filter(|v| v.verdict == Verdict::Unparsed)
        .count();
    if unparsed > 0 {
        progress(Event::Log {
            level: Level::Warn,
            message: format!(
                "the judge's replies to {unparsed} of {} prompts end with no verdict",
                verdicts.len()
            ),
        });
    }
    if resumed > 0 {
        progress(Event::Log {
            level: Level::Info,
            message: format!("{resumed} of {} calls were done earlier", calls.len()),
        });
    }
    let mut metrics = summarise(&remote.spec, &verdicts);
    metrics.insert("calls".into(), json!(calls.len()));
    let budget = Budget::new(&remote.endpoint, done.values());
    metrics.insert("tokens".into(), json!(budget.tokens()));
    let cost = budget.cost();
    if let Some(cost) = &cost {
        tell_cost(cost, progress);
    }
    Ok(Finished { metrics, cost })
}

fn tell_cost(cost: &ApiCost, progress: &dyn Fn(Event)) {
    let level = match cost.unpriced_calls {
        0 => Level::Info,
        _ => Level::Warn,
    };
    progress(Event::Log {
        level,
        message: format!("the calls cost {cost}"),
    });
}

/// The verdict both orders support: a win or a loss only if they agree.
fn verdict(pair: Pair, done: &BTreeMap<Call, Entry>) -> VerdictRow {
    let reply = |a_first| {
        let call = Call {
            id: pair.id,
            a_first,
        };
        done.get(&call)
            .map_or(String::new(), |entry| entry.reply.clone())
    };
    let replies = [reply(true), reply(false)];
    let orders = [
        reply::verdict(&replies[0], true),
        reply::verdict(&replies[1], false),
    ];
    let verdict = match orders {
        [Verdict::Unparsed, _] | [_, Verdict::Unparsed] => Verdict::Unparsed,
        [first, second] if first == second => first,
        _ => Verdict::Tie,
    };
    VerdictRow {
        id: pair.id,
        prompt: pair.prompt,
        a: pair.a,
        b: pair.b,
        verdict,
        orders: Some(orders),
        rewards: None,
        replies: replies.to_vec(),
    }
}
