//! What to say of a worker that did not finish.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use crate::engine::StageFailure;

/// How much of a log a failure shows.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// A worker held more memory than all of them may, in MB.
pub(super) fn too_large(stage: &str, held: u64, limit: u64) -> StageFailure {
    let message = format!(
        "the worker of `{stage}` held {held} MB, more than the {limit} MB that `memory_mb` in \
         `[limits]` of the site file allows to all workers on the CPU; it was ended"
    );
    StageFailure::new(message).with_hint(
        "raise `memory_mb`, or lower `token_budget` in the site file, and run again: what is \
         committed is kept, and a stage that left a checkpoint goes on from it",
    )
}

/// How it ended.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(9), _) => {
            "the worker was killed by signal 9 (SIGKILL): likely the machine ran out of memory; \
             a smaller `token_budget` in the site file needs less"
                .into()
        }
        (Some(signal), _) => {
            let name = match signal {
                4 => " (SIGILL)",
                6 => " (SIGABRT)",
                7 => " (SIGBUS)",
                8 => " (SIGFPE)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("the worker was killed by signal {signal}{name}")
        }
        (None, Some(0)) => "the worker ended without saying that it finished".into(),
        (None, code) => format!(
            "the worker ended with exit status {} without saying why",
            code.unwrap_or_default()
        ),
    }
}

/// The end of a log, on lines of its own; nothing if it is empty.
pub(super) fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    let shown = last.iter().map(|line| format!("\n    {line}"));
    if last.is_empty() {
        return String::new();
    }
    format!("\n  the end of its log:{}", shown.collect::<String>())
}
