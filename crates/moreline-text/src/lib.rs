//! Text on its way to and from a model, without tensors: tokenizers, chat templates, prompt forms.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`tokenizer`] | text to ids and back, from Hugging Face files or GGUF metadata |
//! | [`chat_template`] | a model's own Jinja template, rendered with bounds |
//! | [`dialogue`] | messages, and the published dialogue texts they are parsed from |
//! | [`prompt`] | the forms in which messages are fed to a model |
//! | [`stream`] | decoding while ids arrive |
//! | [`error`] | what can go wrong |

pub mod chat_template;
pub mod dialogue;
pub mod error;
pub mod prompt;
pub mod stream;
pub mod tokenizer;

pub use chat_template::ChatTemplate;
pub use dialogue::{Message, Role, parse_dialogue, split_response};
pub use error::TextError;
pub use prompt::{PromptForm, render_full, render_prompt};
pub use stream::StreamDecoder;
pub use tokenizer::{Bos, Framing, Specials, Tokenizer};
