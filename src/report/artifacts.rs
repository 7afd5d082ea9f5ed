//! Reads the JSON Lines records of finished stages.

use std::fs::File;
use std::io::{BufRead, BufReader};

use serde::de::DeserializeOwned;

use super::input::ReportStage;

/// The rows of a stage's output, or a sentence that says why there are none.
/// The sentence names the output and never its path, which differs between
/// machines.
pub(super) fn rows<T: DeserializeOwned>(
    stage: &ReportStage,
    output: &str,
) -> Result<Vec<T>, String> {
    if !stage.state.has_results() {
        return Err(format!(
            "Stage {} has no results ({}); moreline run would give its {output}.",
            stage.name,
            stage.state.word()
        ));
    }
    let name = &stage.name;
    let Some(path) = stage.outputs.get(output) else {
        return Err(format!("Stage {name} has no output {output}."));
    };
    let fail = |what: String| {
        format!(
            "Output {output} of stage {name} could not be read: {what}. The command moreline \
             cache verify checks the store."
        )
    };
    let file = File::open(path).map_err(|cause| fail(cause.kind().to_string()))?;
    let mut rows = Vec::new();
    for (i, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|cause| fail(cause.kind().to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let row = serde_json::from_str(&line);
        rows.push(row.map_err(|cause| fail(format!("line {}: {cause}", i + 1)))?);
    }
    Ok(rows)
}
