//! The events of a running worker: one JSON object per line on its standard output.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Metrics of a finished stage. Nested objects are allowed; times are not
/// (they belong in [`Event::Finished`]'s `timings`).
pub type Metrics = serde_json::Map<String, Value>;

/// One event of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The worker has read its job and is about to start.
    Started {
        /// Protocol version of the worker.
        protocol: u32,
        /// What the numbers depend on besides the key.
        fingerprint: Fingerprint,
    },
    /// How far a phase is. Sent at most a few times a second.
    Progress {
        /// What is being done: `training`, `generating`, ...
        phase: String,
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// `pairs`, `prompts`, `tokens`, ...
        unit: String,
    },
    /// Scalars of a training step, for live display; the lasting record is the
    /// stage's `history.jsonl`.
    Scalars {
        /// Optimiser step, from 1.
        step: u64,
        /// Name to value.
        values: BTreeMap<String, f64>,
    },
    /// A line for the stage's log.
    Log {
        /// `info` or `warn`.
        level: Level,
        /// The message.
        message: String,
    },
    /// The stage is done and every output is written and synced.
    Finished {
        /// Results worth comparing; no timings.
        metrics: Metrics,
        /// Seconds by phase, rates and peak memory: recorded, never keyed.
        timings: BTreeMap<String, f64>,
    },
    /// The stage failed for a reason worth telling.
    Failed {
        /// Completes `failed to ...`, with file, record and cause.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For the record.
    Info,
    /// The user should see it.
    Warn,
}

/// What the last bits of a result depend on besides the stage's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// libtorch version.
    pub libtorch: String,
    /// `cpu`, or the GPU's name.
    pub device: String,
    /// Highest instruction set in use, for example `AVX512`.
    pub instructions: String,
    /// Compute threads.
    pub threads: u32,
    /// Route of fp32 matrix products: `highest` (sgemm) or `medium` (oneDNN,
    /// accepted only after a check of its error).
    pub fp32_matmul: String,
    /// Tokens computed at once: where a batch is cut, its sums are. Absent in
    /// records of before it was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<u32>,
}
