//! File formats of models, without tensors: safetensors, GGUF and Hugging Face's `config.json`.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`model_config`] | one description of a decoder, from `config.json` or GGUF metadata, and back to `config.json` |
//! | [`weights`] | the tensors of a model under their Hugging Face names, whatever the file |
//! | [`safetensors`] | reading and writing `.safetensors` files and their sharded form |
//! | [`gguf`] | reading `.gguf` files, dequantisation included |
//! | [`dialogue`] | the published dialogue texts and the messages in them |
//! | [`rows`] | readers of preference, prompt, example and response rows |
//! | [`tensor`] | a tensor in host memory and the element types of files |
//! | [`error`] | what can go wrong, always with the file's name |
//!
//! Files come from outside: every length, count and offset in a header is checked against the
//! file's size before anything is allocated, and bad input is an error, never a panic.

pub mod dialogue;
pub mod error;
pub mod gguf;
pub mod model_config;
pub mod rows;
pub mod safetensors;
pub mod tensor;
pub mod weights;

pub use error::FormatError;
pub use model_config::ModelConfig;
pub use tensor::{Dtype, HostData, HostTensor, TensorInfo};
pub use weights::WeightStore;
