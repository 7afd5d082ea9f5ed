//! A tokenizer from the files of a Hugging Face directory.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Parts, Source, stop_ids};
use crate::error::TextError;

/// Everything of a tokenizer that a directory may hold.
const FILES: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
];

/// The JSON files beside `tokenizer.json`; an absent one is empty.
struct Files {
    tokenizer_config: Map<String, Value>,
    special_tokens_map: Map<String, Value>,
    generation_config: Map<String, Value>,
    config: Map<String, Value>,
}

pub(super) fn load(dir: &Path) -> Result<Parts, TextError> {
    let path = dir.join("tokenizer.json");
    if !path.is_file() {
        let reason = "there is no tokenizer.json; save the model with a fast tokenizer first";
        return Err(TextError::tokenizer(dir, reason));
    }
    let inner =
        tokenizers::Tokenizer::from_file(&path).map_err(|e| TextError::tokenizer(&path, e))?;
    let files = Files {
        tokenizer_config: read_json(dir, "tokenizer_config.json")?,
        special_tokens_map: read_json(dir, "special_tokens_map.json")?,
        generation_config: read_json(dir, "generation_config.json")?,
        config: read_json(dir, "config.json")?,
    };
    let eos = files.special(&inner, dir, "eos")?;
    let stops = stop_ids(eos, ids(files.generation_config.get("eos_token_id")));
    Ok(Parts {
        source: Source::Directory,
        bos: files.special(&inner, dir, "bos")?,
        eos,
        pad: files.special(&inner, dir, "pad")?,
        stops,
        adds_bos: files
            .tokenizer_config
            .get("add_bos_token")
            .and_then(Value::as_bool),
        template: files.template(dir)?,
        inner,
    })
}

impl Files {
    /// The id of a special token: by its text in the tokenizer's files, or, without such files, by
    /// the id in the model's.
    fn special(
        &self,
        inner: &tokenizers::Tokenizer,
        dir: &Path,
        name: &str,
    ) -> Result<Option<u32>, TextError> {
        let key = format!("{name}_token");
        let maps = [&self.tokenizer_config, &self.special_tokens_map];
        if let Some(text) = maps.iter().find_map(|map| token_text(map.get(&key)?)) {
            let missing = || format!("its `{key}` is `{text}`, which its vocabulary lacks");
            return inner
                .token_to_id(text)
                .map(Some)
                .ok_or_else(|| TextError::tokenizer(dir, missing()));
        }
        if maps.iter().any(|map| !map.is_empty()) {
            return Ok(None);
        }
        let key = format!("{name}_token_id");
        let found = [&self.generation_config, &self.config]
            .iter()
            .find_map(|map| ids(map.get(&key)).first().copied());
        Ok(found)
    }

    /// The chat template: the file of its own before the key; of several the one named `default`.
    fn template(&self, dir: &Path) -> Result<Option<String>, TextError> {
        let path = dir.join("chat_template.jinja");
        if path.is_file() {
            let text = std::fs::read_to_string(&path);
            return text.map(Some).map_err(|e| TextError::io("read", &path, e));
        }
        let named_default = |entry: &&Value| entry["name"] == "default";
        Ok(match self.tokenizer_config.get("chat_template") {
            Some(Value::String(source)) => Some(source.clone()),
            Some(Value::Array(several)) => several
                .iter()
                .find(named_default)
                .and_then(|entry| entry["template"].as_str())
                .map(str::to_owned),
            _ => None,
        })
    }
}

/// A special token is a string, or an object with its `content`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// One id or a list of them.
fn ids(value: Option<&Value>) -> Vec<u32> {
    let id = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(several)) => several.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}

fn read_json(dir: &Path, name: &str) -> Result<Map<String, Value>, TextError> {
    let path = dir.join(name);
    if !path.is_file() {
        return Ok(Map::new());
    }
    let text = std::fs::read(&path).map_err(|e| TextError::io("read", &path, e))?;
    serde_json::from_slice(&text)
        .map_err(|e| TextError::tokenizer(&path, format!("it is not a JSON object: {e}")))
}

pub(super) fn copy_files(from: &Path, to: &Path) -> Result<(), TextError> {
    for name in FILES {
        let source = from.join(name);
        if source.is_file() {
            // Read and write rather than copy: the source's permissions are not wanted.
            let bytes = std::fs::read(&source).map_err(|e| TextError::io("read", &source, e))?;
            let target = to.join(name);
            std::fs::write(&target, bytes).map_err(|e| TextError::io("write", &target, e))?;
        }
    }
    Ok(())
}
