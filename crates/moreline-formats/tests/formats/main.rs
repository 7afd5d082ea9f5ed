//! The crate from outside: real files, damaged files, and files written and read back.

mod config;
mod damage;
mod demo_model;
mod directories;
mod gguf;
mod raw;
mod safetensors;

use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn golden_json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}
