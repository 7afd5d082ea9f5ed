//! Integration tests of the worker, one binary.

mod bad_input;
mod common;
mod evaluation;
mod forward;
mod golden_generate;
mod golden_models;
mod golden_train;
mod kills;
mod methods;
mod objectives;
mod parity;
mod resume;
mod rounding;
mod stages;
mod tiny;
mod watching;
