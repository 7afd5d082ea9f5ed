//! `moreline`: a declarative experiment engine for reward modelling and alignment.
//!
//! Layers, lowest first; a module imports only from those before it.

pub mod cli;
pub mod config;
pub mod digest;
pub mod engine;
pub mod event;
pub mod judge;
pub mod plan;
pub mod records;
mod redact;
pub mod report;
pub mod store;
