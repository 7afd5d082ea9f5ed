//! One call to an OpenAI-compatible endpoint, with retries.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::blocking::Response;
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::budget::Usage;
use super::secret::Secret;
use super::setup;
use crate::config::Endpoint;
use crate::judge::JudgeError;
use crate::redact;

/// Largest answer read.
const MAX_ANSWER: u64 = 8 << 20;
/// Longest wait a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Longest wait between retries of our own choice.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// Characters of an error's body that are shown.
const SHOWN: usize = 300;

/// A judge's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The reply's text; empty if it has none.
    pub(crate) text: String,
    /// Tokens used, prompt and reply: the endpoint's count, or a fourth of the
    /// characters if it gives none.
    pub(crate) tokens: u64,
    /// The endpoint's count of both apart.
    pub(crate) usage: Option<Usage>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The run was stopped while waiting.
    Stopped,
    /// Trying again may help.
    Transient {
        reason: String,
        wait: Option<Duration>,
    },
    /// Trying again will not help.
    Fatal { reason: String, hint: String },
}

/// A connection to one endpoint.
pub(crate) struct Client {
    http: reqwest::blocking::Client,
    url: Url,
    key: Option<Secret>,
    key_env: String,
    retries: u32,
    /// The first wait before a retry; doubled each time.
    pub(crate) backoff: Duration,
}

impl Client {
    pub(crate) fn new(endpoint: &Endpoint, key: Option<Secret>) -> Result<Self, JudgeError> {
        let url = format!("{}/chat/completions", endpoint.url.trim_end_matches('/'));
        let url = Url::parse(&url).ok().filter(|url| url.has_host());
        let url = url.ok_or_else(|| {
            setup(
                format!("`{}` is no URL", redact::url(&endpoint.url)),
                "write it like http://127.0.0.1:8080/v1",
            )
        })?;
        let timeout = Duration::try_from_secs_f64(endpoint.timeout_s)
            .ok()
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| setup("`timeout_s` is no time", "give seconds above 0"))?;
        let mut builder = reqwest::blocking::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        if ["127.0.0.1", "localhost", "[::1]"].contains(&url.host_str().unwrap_or_default()) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| setup(error.to_string(), ""))?;
        Ok(Self {
            http,
            url,
            key,
            key_env: endpoint.key_env.clone().unwrap_or_default(),
            retries: endpoint.retries,
            backoff: Duration::from_millis(500),
        })
    }

    /// The URL without what it may hold of credentials.
    pub(crate) fn shown_url(&self) -> String {
        self.scrub(&redact::url(self.url.as_str()))
    }

    /// Asks until there is an answer, an error that stays, no retry left, or
    /// `stop`.
    pub(crate) fn ask(&self, body: &Value, stop: &AtomicBool) -> Result<Answer, CallError> {
        let mut tried = 0;
        loop {
            let (reason, wait) = match self.ask_once(body) {
                Err(CallError::Transient { reason, wait }) => (reason, wait),
                other => return other,
            };
            if tried == self.retries {
                return Err(CallError::Fatal {
                    reason: format!("{reason} (tried {} times)", tried + 1),
                    hint: "is the endpoint up? run again to go on: finished calls are kept".into(),
                });
            }
            let own = self
                .backoff
                .saturating_mul(1 << tried.min(16))
                .min(MAX_BACKOFF);
            tried += 1;
            sleep(wait.unwrap_or(own), stop)?;
        }
    }

    fn ask_once(&self, body: &Value) -> Result<Answer, CallError> {
        let mut request = self.http.post(self.url.clone()).json(body);
        if let Some(key) = &self.key {
            let mut value = HeaderValue::try_from(key.bearer()).map_err(|_| CallError::Fatal {
                reason: format!("the key in {} holds characters no header may", self.key_env),
                hint: "set it to the bare key".into(),
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let response = request.send().map_err(|error| self.transport(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(status, response));
        }
        let text = read_bounded(response).map_err(|error| self.broken_off(&error))?;
        self.answer(&text, body)
    }

    fn answer(&self, text: &str, body: &Value) -> Result<Answer, CallError> {
        let garbage = || CallError::Transient {
            reason: format!("it answers with no chat completion: {}", self.excerpt(text)),
            wait: None,
        };
        let answer: Value = serde_json::from_str(text).map_err(|_| garbage())?;
        let message = answer.pointer("/choices/0/message").ok_or_else(garbage)?;
        let reply = message
            .get("content")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let usage = Usage::reported(&answer);
        let total = answer.pointer("/usage/total_tokens");
        let tokens = total.and_then(Value::as_u64).or(usage.map(Usage::total));
        let estimate = || ((body.to_string().len() + reply.len()) / 4) as u64;
        Ok(Answer {
            text: self.scrub(reply),
            tokens: tokens.unwrap_or_else(estimate),
            usage,
        })
    }

    fn refused(&self, status: StatusCode, response: Response) -> CallError {
        let header = |name| {
            let value = response.headers().get(name);
            value.and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        if status.is_redirection() {
            let to = header(LOCATION).unwrap_or_else(|| "nowhere".into());
            return CallError::Fatal {
                reason: format!("it redirects to {}", self.scrub(&redact::url(&to))),
                hint: "redirects are not followed; put the final URL into the site file".into(),
            };
        }
        let wait = header(RETRY_AFTER).and_then(|v| v.trim().parse::<f64>().ok());
        let wait = wait.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let body = read_bounded(response).unwrap_or_default();
        let reason = format!("it answers {status}: {}", self.excerpt(&body));
        match status.as_u16() {
            408 | 425 | 429 | 500 | 502..=504 | 529 if wait.is_none_or(|w| w <= MAX_WAIT) => {
                CallError::Transient { reason, wait }
            }
            408 | 425 | 429 | 500 | 502..=504 | 529 => CallError::Fatal {
                reason: format!(
                    "{reason} (it asks to wait {} s)",
                    wait.unwrap_or_default().as_secs()
                ),
                hint: "run again later to go on: finished calls are kept".into(),
            },
            401 | 403 if self.key.is_some() => CallError::Fatal {
                reason,
                hint: format!("check the key in {}", self.key_env),
            },
            401 | 403 => CallError::Fatal {
                reason,
                hint: "name the variable that holds the key as the endpoint's `key_env`".into(),
            },
            404 => CallError::Fatal {
                reason,
                hint: "check the endpoint's `url` and the stage's `judge_model`".into(),
            },
            _ => CallError::Fatal {
                reason,
                hint: "the endpoint refuses the request itself".into(),
            },
        }
    }

    fn transport(&self, error: &reqwest::Error) -> CallError {
        let reason = if error.is_timeout() {
            "it gives no answer in time".to_owned()
        } else if error.is_connect() {
            "no connection".to_owned()
        } else {
            self.scrub(&redact::text(&error.to_string()))
        };
        CallError::Transient { reason, wait: None }
    }

    fn broken_off(&self, error: &std::io::Error) -> CallError {
        CallError::Transient {
            reason: format!("its answer breaks off: {}", self.scrub(&error.to_string())),
            wait: None,
        }
    }

    /// The beginning of what an endpoint said, on one line, the key removed.
    fn excerpt(&self, text: &str) -> String {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = self.scrub(&redact::text(&line));
        match line.char_indices().nth(SHOWN) {
            Some((at, _)) => format!("{}..", &line[..at]),
            None if line.is_empty() => "(nothing)".into(),
            None => line,
        }
    }

    fn scrub(&self, text: &str) -> String {
        match &self.key {
            Some(key) => key.scrub(text),
            None => text.to_owned(),
        }
    }
}

fn read_bounded(response: Response) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    response.take(MAX_ANSWER).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Sleeps, but wakes up soon after `stop` is set.
fn sleep(time: Duration, stop: &AtomicBool) -> Result<(), CallError> {
    let end = Instant::now() + time;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(CallError::Stopped);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(50)));
    }
}
