//! Judging: which of two responses to a prompt is better.
//!
//! | Module | What it does |
//! | --- | --- |
//! | `embedded` | turns the rewards a worker gave into verdicts |
//! | `lines` | the lines of a file, each of bounded length |
//! | `remote` | asks an OpenAI-compatible endpoint, call by call, journalled |
//! | `summary` | win rates and their intervals from verdicts |
//! | `runner` | what the engine calls: these and the record stages |

mod embedded;
mod error;
mod lines;
mod remote;
mod runner;
mod summary;

pub use embedded::finish_embedded;
pub use error::JudgeError;
pub use remote::{Remote, judge_remote};
pub use runner::{Lookup, Runner};

#[cfg(test)]
mod tests;
