//! The integration tests of the engine: one binary, one module for each subject.

mod cli;
mod engine;
mod from_more;
#[path = "../src/judge/tests/server.rs"]
#[allow(dead_code, reason = "the judge's own tests use the rest of it")]
mod judge_server;
mod layers;
mod quickstart_data;
mod schema;
mod small_disk;
