//! Responses in the form of the published programs.

use std::path::{Path, PathBuf};

use moreline_formats::rows::{published, read_responses};
use moreline_protocol::artifact::RESPONSES;
use moreline_protocol::job::RowRange;

use super::RecordsError;
use super::output::RowWriter;

/// The file of responses in the published form.
const PUBLISHED: &str = "published.jsonl";

/// Writes the responses that a stage's exported directory holds once more, as
/// the published programs read them: see [`published::write_responses`]. Gives
/// the file.
///
/// # Errors
/// There are no responses, one of them cannot be written in that form without
/// being read otherwise, or the file cannot be written.
pub fn write_published(dir: &Path) -> Result<PathBuf, RecordsError> {
    let from = dir.join(RESPONSES);
    if !from.is_file() {
        return Err(RecordsError::NoResponses {
            dir: dir.to_path_buf(),
        });
    }
    let rows = read_responses(&from, RowRange::default())?;
    let to = dir.join(PUBLISHED);
    let mut written = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = published::write_responses(row);
        written.push(row.map_err(|reason| RecordsError::NotPublishable {
            path: from.clone(),
            reason: reason.text,
            hint: reason.hint,
        })?);
    }
    let mut writer = RowWriter::create(&to)?;
    for row in &written {
        writer.row(row)?;
    }
    writer.finish()?;
    Ok(to)
}
