//! The program as its users meet it: exit codes, messages, JSON.

mod bad_input;
mod diff;
mod disk;
mod experiments;
mod fixture;
mod interrupt;
mod json;
mod metrics;
mod queries;
mod running;
mod runs;
