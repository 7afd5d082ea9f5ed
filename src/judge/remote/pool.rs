//! Many calls at once, as many as the endpoint allows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use moreline_protocol::event::{Event, Level};

use super::Remote;
use super::budget::Budget;
use super::client::{Answer, CallError, Client};
use super::journal::Entry;
use super::prompt::{Call, Request};
use crate::judge::JudgeError;

/// How long calls in flight may still finish once the run is stopped.
const GRACE: Duration = Duration::from_secs(1);
/// How often `cancel` is looked at.
const TICK: Duration = Duration::from_millis(50);

type Answered = (Call, String, Result<Answer, CallError>);

/// What the calling threads share.
struct Shared {
    client: Arc<Client>,
    waiting: Mutex<Vec<(Call, Request)>>,
    /// No further call is begun.
    stop: AtomicBool,
    budget: Budget,
}

impl Shared {
    fn next(&self) -> Option<(Call, Request)> {
        if self.stop.load(Ordering::Relaxed) || self.budget.is_reached() {
            return None;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop()
    }
}

/// Makes every call that is not in `done` and adds its answer there, each
/// after `record` has taken it. `watch` is the run's cancel flag and where
/// progress goes.
pub(super) fn run(
    remote: &Remote,
    calls: &BTreeMap<Call, Request>,
    done: &mut BTreeMap<Call, Entry>,
    watch: (&AtomicBool, &dyn Fn(Event)),
    mut record: impl FnMut(&Entry) -> Result<(), JudgeError>,
) -> Result<(), JudgeError> {
    let (cancel, progress) = watch;
    let mut waiting: Vec<_> = calls
        .iter()
        .filter(|(call, _)| !done.contains_key(call))
        .collect();
    // Threads take from the end.
    waiting.reverse();
    if waiting.is_empty() {
        return Ok(());
    }
    let shared = Arc::new(Shared {
        client: Arc::clone(&remote.client),
        waiting: Mutex::new(waiting.into_iter().map(|(c, r)| (*c, r.clone())).collect()),
        stop: AtomicBool::new(false),
        budget: Budget::new(&remote.endpoint, done.values()),
    });
    let answers = start(&shared, remote.endpoint.concurrency.max(1));
    let mut reported = None;
    let mut give_up_at = None;
    let mut failure = None;
    let mut warned = false;
    loop {
        if reported.replace(done.len()) != Some(done.len()) {
            report(progress, done.len(), calls.len());
        }
        if cancel.load(Ordering::Relaxed) {
            shared.stop.store(true, Ordering::Relaxed);
            give_up_at.get_or_insert_with(|| Instant::now() + GRACE);
        }
        if give_up_at.is_some_and(|at| Instant::now() >= at) {
            break;
        }
        let (call, request, answer) = match answers.recv_timeout(TICK) {
            Ok(answered) => answered,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match answer {
            Ok(answer) => {
                if answer.usage.is_none() && shared.budget.limits_money() && !warned {
                    warned = true;
                    warn_of_unpriced(progress);
                }
                let entry = Entry {
                    call,
                    request,
                    reply: answer.text,
                    tokens: answer.tokens,
                    usage: answer.usage,
                };
                if let Err(error) = record(&entry) {
                    shared.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                done.insert(call, entry);
            }
            Err(CallError::Stopped) => {}
            Err(error) => {
                failure.get_or_insert_with(|| failed(&remote.client, call, error));
            }
        }
    }
    outcome(&shared, failure, done.len(), calls.len())
}

fn outcome(
    shared: &Shared,
    failure: Option<JudgeError>,
    done: usize,
    total: usize,
) -> Result<(), JudgeError> {
    match failure {
        _ if done == total => Ok(()),
        Some(error) => Err(error),
        None => {
            let reached = shared.budget.reached(done, total);
            Err(reached.unwrap_or(JudgeError::Stopped { done, total }))
        }
    }
}

/// Starts the calling threads. They are not waited for: one that hangs in a
/// call ends with it, after its answer is no longer wanted. A thread hands its
/// answer over before it begins the next call.
fn start(shared: &Arc<Shared>, threads: u32) -> Receiver<Answered> {
    let (sender, answers) = mpsc::sync_channel(0);
    for _ in 0..threads {
        let (shared, sender) = (Arc::clone(shared), sender.clone());
        thread::spawn(move || work(&shared, &sender));
    }
    answers
}

fn work(shared: &Shared, answers: &SyncSender<Answered>) {
    while let Some((call, request)) = shared.next() {
        let answer = shared.client.ask(&request.body, &shared.stop);
        match &answer {
            Ok(answer) => {
                shared.budget.add(answer.tokens, answer.usage);
            }
            Err(_) => shared.stop.store(true, Ordering::Relaxed),
        }
        if answers.send((call, request.digest, answer)).is_err() {
            return;
        }
    }
}

fn report(progress: &dyn Fn(Event), done: usize, total: usize) {
    progress(Event::Progress {
        phase: "judging".into(),
        done: done as u64,
        total: total as u64,
        unit: "calls".into(),
    });
}

/// Said once, when it is first seen: a limit that does not work must not do so
/// in silence.
fn warn_of_unpriced(progress: &dyn Fn(Event)) {
    progress(Event::Log {
        level: Level::Warn,
        message: "the endpoint does not say how many tokens a call used: `money_limit` does not \
                  count such calls; `token_limit` estimates them"
            .into(),
    });
}

fn failed(client: &Client, call: Call, error: CallError) -> JudgeError {
    let (reason, hint) = match error {
        CallError::Fatal { reason, hint } => (reason, hint),
        CallError::Transient { reason, .. } => (reason, String::new()),
        CallError::Stopped => ("stopped".into(), String::new()),
    };
    JudgeError::Endpoint {
        id: call.id,
        url: client.shown_url(),
        reason,
        hint,
    }
}
