//! Integration tests of the worker, one binary.

mod common;
mod golden_models;
