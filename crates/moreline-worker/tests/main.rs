//! Integration tests of the worker, one binary.

mod common;
mod golden_generate;
mod golden_models;
mod golden_train;
