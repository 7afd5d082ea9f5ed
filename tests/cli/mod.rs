//! The program as its users meet it: exit codes, messages, JSON.

mod bad_input;
mod experiments;
mod fixture;
mod interrupt;
mod queries;
mod running;
