//! What every format of a report does.

use super::{Report, ReportError};

/// One format of a report.
pub trait Exporter {
    /// Name of the file it writes.
    fn file_name(&self) -> &'static str;

    /// The whole file.
    fn render(&self, report: &Report) -> Result<String, ReportError>;
}
