//! Does a model's tokenizer fit its weights?

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::config::Place;
use crate::engine::StageFailure;
use crate::store::read_at_most;

/// Largest `tokenizer.json` read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// What matters here of `tokenizer.json`. Added tokens are left out: some
/// models have more of them than rows, and never use those.
#[derive(Deserialize)]
struct TokenizerFile {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    /// Ids by token, or a list of tokens with their scores.
    vocab: Value,
}

/// Checks that every token of the tokenizer in a model's directory has a row
/// among the `rows` of the embedding.
pub(super) fn check(directory: &Path, rows: usize) -> Result<(), StageFailure> {
    let path = directory.join("tokenizer.json");
    let failure = |problem: String, hint: &str| {
        let place = Place::file(path.display().to_string());
        let message = format!("read the tokenizer {}: {problem}", path.display());
        StageFailure::new(message).with_hint(hint).at(Some(place))
    };
    if !path.exists() {
        let hint =
            "save the model with a fast tokenizer first, or copy the file beside its weights";
        return Err(failure("there is no such file".into(), hint));
    }
    let own = "take it from the model's repository again";
    let bytes = read_at_most(&path, MAX_BYTES).map_err(|error| failure(error.to_string(), own))?;
    let file: TokenizerFile = serde_json::from_slice(&bytes)
        .map_err(|error| failure(format!("it is no tokenizer: {error}"), own))?;
    match largest_id(&file.model.vocab) {
        Some(id) if id >= rows as u64 => Err(failure(
            format!(
                "its tokens reach id {id}, but the model's vocabulary ends at {}",
                rows - 1
            ),
            "take the tokenizer and the weights of one model",
        )),
        _ => Ok(()),
    }
}

fn largest_id(vocabulary: &Value) -> Option<u64> {
    match vocabulary {
        Value::Object(ids) => ids.values().filter_map(Value::as_u64).max(),
        Value::Array(tokens) => (tokens.len() as u64).checked_sub(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, rows: usize) -> Result<(), String> {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("tokenizer.json"), text).expect("a file");
        check(directory.path(), rows).map_err(|failure| {
            let directory = directory.path().display().to_string();
            failure.to_string().replace(&directory, "DIR")
        })
    }

    #[test]
    fn a_tokenizer_of_another_model_is_noticed() {
        let bpe = r#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 7}, "merges": []}}"#;
        assert_eq!(checked(bpe, 8), Ok(()));
        let error = checked(bpe, 7).expect_err("too many tokens");
        assert!(error.contains("reach id 7"), "{error}");
        assert!(error.contains("ends at 6"), "{error}");
        let unigram = r#"{"model": {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]]}}"#;
        assert_eq!(checked(unigram, 2), Ok(()));
        assert!(checked(unigram, 1).is_err());
        assert!(checked("{}", 8).is_err());
    }
}
