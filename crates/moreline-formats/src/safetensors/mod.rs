//! The safetensors format: an 8-byte length, a JSON header, then the tensors' bytes.

mod header;
mod read;
mod write;

pub use read::SafetensorsFile;
pub use write::{DEFAULT_SHARD_BYTES, TensorSpec, write_file, write_lazily, write_model};
