//! `results.json`: everything a program may want to read.

use super::{Exporter, Report, ReportError};

/// The results as JSON: fields in a fixed order, maps sorted by name.
pub(super) struct Json;

impl Exporter for Json {
    fn file_name(&self) -> &'static str {
        "results.json"
    }

    fn render(&self, report: &Report) -> Result<String, ReportError> {
        let mut text = serde_json::to_string_pretty(&report.results)
            .map_err(|cause| ReportError::Json { cause })?;
        text.push('\n');
        Ok(text)
    }
}
