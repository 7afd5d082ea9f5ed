//! Writing a configuration back as `config.json`.

use serde_json::{Map, Value};

use super::ModelConfig;

impl ModelConfig {
    /// The `config.json` of the language model (`...ForCausalLM`), in both the spelling that
    /// transformers 5 reads and the one before it; keys of the source that we do not know are kept.
    pub fn to_hf_json(&self) -> Map<String, Value> {
        todo!()
    }

    /// The `config.json` of a reward model (`...ForSequenceClassification`, one label), with
    /// `extra` keys laid over it.
    pub fn to_hf_classifier_json(&self, extra: Map<String, Value>) -> Map<String, Value> {
        let _ = extra;
        todo!()
    }
}
