//! Integration tests of the worker, one binary.

mod bad_input;
mod common;
mod golden_generate;
mod golden_models;
mod golden_train;
mod methods;
mod resume;
mod stages;
mod tiny;
mod watching;
