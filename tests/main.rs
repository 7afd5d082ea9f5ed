//! The integration tests of the engine: one binary, one module for each subject.

mod cli;
mod engine;
mod from_more;
mod layers;
mod quickstart_data;
mod schema;
mod small_disk;
