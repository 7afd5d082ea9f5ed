//! `moreline logs`.

use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::args::ExperimentArguments;
use super::error::CliError;
use super::run::shown;
use super::session::Session;
use super::table::duration;
use super::terminal::{self, plain};
use crate::engine::{self, LogTail, PastStage, PastState, StageLogs};

/// How often a log is looked at while it is followed.
const POLL: Duration = Duration::from_millis(200);

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArguments {
    #[command(flatten)]
    experiment: ExperimentArguments,
    /// The stage, with its matrix cell: rm, or rm:more
    stage: String,
    /// The log of this run: its id, what only its id begins with, or `latest`
    /// (default: the newest that computed the stage)
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Go on printing until the stage is over
    #[arg(short, long, conflicts_with = "json")]
    follow: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Prints a stage's log.
pub(super) fn run(arguments: &LogsArguments) -> Result<(), CliError> {
    let session = Session::open(&arguments.experiment)?;
    let name = session.stage_name(&arguments.stage)?;
    let run = arguments.run.as_deref();
    let find = |follow| engine::find_logs(&session.experiment, &session.site, &name, run, follow);
    let mut logs = find(arguments.follow)?;
    if arguments.json {
        return as_json(&logs);
    }
    if arguments.follow && !logs.stage.state.is_over() {
        if !begins(&logs)? {
            // The run found the stage done: its log is an earlier run's.
            logs = find(false)?;
        }
        about(&logs);
        return follow(&logs);
    }
    about(&logs);
    let mut printer = Printer::new(&logs);
    while printer.some(&logs)? == Read::Some {}
    printer.end()?;
    outcome(&logs.stage);
    Ok(())
}

fn as_json(logs: &StageLogs) -> Result<(), CliError> {
    let mut printer = Printer::new(logs);
    let mut text = Vec::new();
    loop {
        let bytes = printer.read(logs)?;
        if bytes.is_empty() {
            break;
        }
        text.extend(bytes);
    }
    terminal::json(&json!({
        "run": logs.run.id,
        "run_state": logs.run.state,
        "stage": logs.stage,
        "log": logs.log,
        "text": String::from_utf8_lossy(&text),
    }))
}

/// Says on standard error whose log it is.
fn about(logs: &StageLogs) {
    let (stage, id) = (plain(&logs.stage.name), &logs.run.id);
    terminal::error(&format!("{stage} in run {id}: {}\n", shown(&logs.log)));
}

/// Says on standard error how the stage ended.
fn outcome(stage: &PastStage) {
    let name = plain(&stage.name);
    let mut text = match stage.state {
        PastState::Ran => format!("{name}: ran in {}\n", duration(stage.seconds)),
        state => format!("{name}: {}\n", state.name()),
    };
    if let Some(error) = &stage.error {
        text.push_str(&lines(error.message.as_bytes()));
        text.push('\n');
        if let Some(hint) = &error.hint {
            text.push_str(&format!("help: {}\n", plain(hint)));
        }
    }
    terminal::error(&text);
}

/// Waits until a run begins to compute the stage; false if it does not.
fn begins(logs: &StageLogs) -> Result<bool, CliError> {
    let read = |cause| unreadable(logs, cause);
    let mut watch = logs.watch().map_err(read)?;
    loop {
        let over = watch.is_over().map_err(read)?;
        let state = watch.look().map_err(read)?.map(|stage| stage.state);
        if state.is_some_and(PastState::was_begun) {
            return Ok(true);
        }
        if over {
            return Ok(false);
        }
        sleep(POLL);
    }
}

/// Prints what there is and what comes, until the stage is over.
fn follow(logs: &StageLogs) -> Result<(), CliError> {
    let read = |cause| unreadable(logs, cause);
    let mut printer = Printer::new(logs);
    let mut watch = logs.watch().map_err(read)?;
    loop {
        // Asked before reading: what was written until then is read below.
        let over = watch.is_over().map_err(read)?;
        let found = loop {
            match printer.some(logs)? {
                Read::Some => {}
                end => break end,
            }
        };
        if found == Read::Unheard {
            return Ok(());
        }
        if over {
            break;
        }
        sleep(POLL);
    }
    printer.end()?;
    if let Some(stage) = watch.look().map_err(read)? {
        outcome(stage);
    }
    Ok(())
}

fn unreadable(logs: &StageLogs, cause: std::io::Error) -> CliError {
    CliError::Read {
        path: logs.log.clone(),
        cause,
    }
}

/// What came of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Something, and there may be more.
    Some,
    /// Nothing for now.
    Nothing,
    /// Nobody reads what is printed any more.
    Unheard,
}

/// Prints a log in whole lines.
struct Printer {
    tail: LogTail,
    /// A line whose end was not read yet.
    rest: Vec<u8>,
}

impl Printer {
    fn new(logs: &StageLogs) -> Self {
        Self {
            tail: logs.tail(),
            rest: Vec::new(),
        }
    }

    fn read(&mut self, logs: &StageLogs) -> Result<Vec<u8>, CliError> {
        self.tail.more().map_err(|cause| unreadable(logs, cause))
    }

    fn some(&mut self, logs: &StageLogs) -> Result<Read, CliError> {
        let bytes = self.read(logs)?;
        if bytes.is_empty() {
            return Ok(Read::Nothing);
        }
        self.rest.extend(bytes);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n');
        let whole: Vec<u8> = self.rest.drain(..whole.map_or(0, |end| end + 1)).collect();
        match terminal::stream(&lines(&whole))? {
            true => Ok(Read::Some),
            false => Ok(Read::Unheard),
        }
    }

    /// Prints what is left.
    fn end(&mut self) -> Result<(), CliError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        terminal::out(&format!("{}\n", lines(&self.rest)))
    }
}

/// Text of a log: its lines, without what steers a terminal.
fn lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let shown = |c: char| match c {
        '\n' | '\r' => '\n',
        '\t' => '\t',
        other => terminal::visible(other),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn logs_cannot_steer_the_terminal() {
        assert_eq!(
            lines(b"a\x1b[2Jb\tc\r\n10%\r20%\n"),
            "a\u{fffd}[2Jb\tc\n10%\n20%\n"
        );
        assert_eq!(lines(b"\xff\n"), "\u{fffd}\n");
    }
}
