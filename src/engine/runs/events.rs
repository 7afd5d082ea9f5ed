//! How far a run came, by its events: `events.jsonl`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::path::Path;

use super::past::{PastStage, PastState};
use crate::engine::StageFailure;
use crate::event::RunEvent;
use crate::plan::StageKey;

/// The events' file.
pub(in crate::engine) const EVENTS: &str = "events.jsonl";
/// Longest line read, in bytes; longer ones are passed over.
const MAX_LINE: u64 = 1 << 20;
/// Most bytes of events read.
const MAX_BYTES: u64 = 1 << 30;
/// How the events of stages begin. The others, such as the many scalars of a
/// training, are not parsed.
const OF_STAGES: &[u8] = b"{\"event\":\"stage-";

/// The stages that a run's events tell of, in the order they were begun or found
/// done. Lines that make no sense are passed over.
pub(super) fn stages(dir: &Path, goes_on: bool) -> io::Result<Vec<PastStage>> {
    let mut events = Events::open(dir)?;
    events.read()?;
    let mut stages = events.stages;
    if !goes_on {
        let cut_short = stages.iter_mut().filter(|stage| !stage.state.is_over());
        cut_short.for_each(|stage| stage.state = PastState::Killed);
    }
    Ok(stages)
}

/// The events of a run, read as they are written.
#[derive(Debug)]
pub(super) struct Events {
    reader: Option<BufReader<Take<File>>>,
    /// A line, or what is written of it so far.
    line: Vec<u8>,
    /// What was read told of these.
    pub(super) stages: Vec<PastStage>,
}

impl Events {
    /// The events in a run's directory; none if there are none.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = match File::open(dir.join(EVENTS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        Ok(Self {
            reader: file.map(|file| BufReader::new(file.take(MAX_BYTES))),
            line: Vec::new(),
            stages: Vec::new(),
        })
    }

    /// Takes all whole lines that are there by now.
    pub(super) fn read(&mut self) -> io::Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        while next_line(reader, &mut self.line)? {
            if self.line.starts_with(OF_STAGES)
                && let Ok(event) = serde_json::from_slice(&self.line)
            {
                take(&mut self.stages, event);
            }
            self.line.clear();
        }
        Ok(())
    }
}

/// Completes a line, of which nothing is kept if it is too long; false if its
/// end is not there yet.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let room = MAX_LINE.saturating_sub(line.len() as u64);
    reader.take(room).read_until(b'\n', line)?;
    if line.len() as u64 >= MAX_LINE && line.last() != Some(&b'\n') {
        line.clear();
        skip_line(reader)?;
        return Ok(true);
    }
    Ok(line.last() == Some(&b'\n'))
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(count);
        if end.is_some() || count == 0 {
            return Ok(());
        }
    }
}

fn take(stages: &mut Vec<PastStage>, event: RunEvent) {
    match event {
        RunEvent::StageStarted { stage, kind, .. } => {
            let stage = entry(stages, &stage);
            stage.kind = Some(kind);
            stage.state = PastState::Running;
        }
        RunEvent::StageWaiting { stage, .. } => {
            entry(stages, &stage).state = PastState::Waiting;
        }
        RunEvent::StageFinished {
            stage,
            state,
            seconds,
            key,
        } => {
            let stage = entry(stages, &stage);
            stage.state = state.into();
            stage.key = key.map(StageKey);
            stage.seconds = seconds;
        }
        RunEvent::StageFailed {
            stage,
            message,
            hint,
        } => {
            let stage = entry(stages, &stage);
            stage.state = PastState::Failed;
            stage.error = Some(StageFailure {
                hint,
                ..StageFailure::new(message)
            });
        }
        RunEvent::StageSkipped { stage, reason } => {
            let stage = entry(stages, &stage);
            stage.state = PastState::Skipped;
            stage.error = Some(StageFailure::new(reason));
        }
        _ => {}
    }
}

fn entry<'a>(stages: &'a mut Vec<PastStage>, name: &str) -> &'a mut PastStage {
    let index = match stages.iter().position(|stage| stage.name == name) {
        Some(index) => index,
        None => {
            stages.push(PastStage::new(name));
            stages.len() - 1
        }
    };
    &mut stages[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(text: &[u8], goes_on: bool) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(EVENTS), text).unwrap();
        let stages = stages(dir.path(), goes_on).unwrap();
        let stages = stages.iter();
        stages
            .map(|stage| format!("{}={}", stage.name, stage.state.name()))
            .collect()
    }

    const EVENTS_OF_A_RUN: &str = r#"{"event":"run-started","run":"r","experiment":"e","stages":3}
{"event":"stage-finished","stage":"a","state":"cached","seconds":0.0}
{"event":"stage-started","stage":"b","kind":"score","reason":"no result yet","device":"cpu"}
{"event":"stage-started","stage":"c","kind":"sft","reason":"no result yet","device":"cpu"}
{"event":"scalars","stage":"c","step":1,"values":{"loss":0.5}}
{"event":"stage-failed","stage":"b","message":"row 3 is bad","hint":null}
"#;

    #[test]
    fn a_run_under_way_and_one_that_was_killed() {
        let events = EVENTS_OF_A_RUN.as_bytes();
        assert_eq!(states(events, true), ["a=cached", "b=failed", "c=running"]);
        assert_eq!(states(events, false), ["a=cached", "b=failed", "c=killed"]);
    }

    #[test]
    fn events_are_read_as_they_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(EVENTS);
        let (before, after) = EVENTS_OF_A_RUN.split_at(EVENTS_OF_A_RUN.find("-failed").unwrap());
        std::fs::write(&path, before).unwrap();
        let mut events = Events::open(dir.path()).unwrap();
        events.read().unwrap();
        assert_eq!(events.stages[1].state, PastState::Running);
        std::fs::write(&path, format!("{before}{after}")).unwrap();
        events.read().unwrap();
        assert_eq!(events.stages[1].state, PastState::Failed);
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        let mut text = b"{\"event\":\"stage-started\",\"stage\":7}\n\xff\xfe\n".to_vec();
        text.extend(EVENTS_OF_A_RUN.as_bytes());
        text.extend(vec![b'x'; 3 << 20]);
        text.extend(b"\n{\"event\":\"stage-skipped\",\"stage\":\"d\",\"reason\":\"x\"}\n");
        text.extend(b"{\"event\":\"stage-finished\",\"stage\":\"c\",\"sta");
        assert_eq!(
            states(&text, true),
            ["a=cached", "b=failed", "c=running", "d=skipped"]
        );
    }
}
