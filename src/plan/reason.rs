//! Why a stage runs again, in one line.

use super::change::StageVersion;

/// Differences named before the rest is only counted.
const SHOWN: usize = 3;

/// Why the result of `past` does not serve `now`, in one line.
pub fn rerun_reason(now: &StageVersion, past: Option<&StageVersion>) -> String {
    let Some(past) = past else {
        return "no result yet".into();
    };
    let changes = now.changes_since(past).into_iter();
    let changes: Vec<String> = changes
        .filter(|change| change.is_keyed())
        .map(|change| change.to_string())
        .collect();
    match changes.len() {
        0 => "no result for its present inputs".into(),
        count if count > SHOWN => {
            let more = count - SHOWN;
            format!("{} and {more} more changes", changes[..SHOWN].join(", "))
        }
        _ => changes.join(", "),
    }
}
