//! The site file: what may differ between machines and never enters a key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redact;

/// `moreline.toml` beside the experiment, or in the user's configuration
/// directory; every field has a default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Site {
    /// Cache directory; by default `cache/` beside the nearest `Cargo.toml` or
    /// `.git` above the experiment, else `.moreline-cache` beside it.
    pub cache: Option<PathBuf>,
    /// Devices that stages may use, for example `["cuda:0", "cuda:1"]`;
    /// `["cpu"]` if empty. One worker at a time runs on each.
    #[schemars(inner(regex(pattern = r"^(cpu|cuda(:[0-9]+)?)$")))]
    pub devices: Vec<String>,
    /// Stages at once, unless `-j` says otherwise; as devices and cores allow
    /// if absent.
    #[schemars(range(min = 1))]
    pub jobs: Option<u32>,
    /// Compute threads of a CPU worker; all cores if absent.
    #[schemars(range(min = 1))]
    pub threads: Option<u32>,
    /// Largest number of tokens a worker computes at once.
    #[schemars(range(min = 1))]
    pub token_budget: Option<u32>,
    /// The worker program; `moreline-worker` beside `moreline` if absent.
    pub worker: Option<PathBuf>,
    /// Whether each run's folder gets TensorBoard event files; it does if absent.
    pub tensorboard: Option<bool>,
    /// OpenAI-compatible endpoints by name.
    pub endpoint: BTreeMap<String, Endpoint>,
}

/// An OpenAI-compatible HTTP endpoint. Prints its URL without credentials.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Base URL, for example `http://127.0.0.1:8080/v1`.
    #[schemars(regex(pattern = r"^[hH][tT][tT][pP][sS]?://"))]
    pub url: String,
    /// Name of the environment variable that holds the key; none is sent if absent.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub key_env: Option<String>,
    /// Requests in flight at once.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1))]
    pub concurrency: u32,
    /// Seconds before a request counts as failed.
    #[serde(default = "timeout")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub timeout_s: f64,
    /// Times a failed request is tried again.
    #[serde(default = "retries")]
    pub retries: u32,
    /// Stop cleanly after this many tokens in all.
    #[serde(default)]
    pub token_limit: Option<u64>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &redact::url(&self.url))
            .field("key_env", &self.key_env)
            .field("concurrency", &self.concurrency)
            .field("timeout_s", &self.timeout_s)
            .field("retries", &self.retries)
            .field("token_limit", &self.token_limit)
            .finish()
    }
}

fn concurrency() -> u32 {
    4
}
fn timeout() -> f64 {
    120.0
}
fn retries() -> u32 {
    5
}
