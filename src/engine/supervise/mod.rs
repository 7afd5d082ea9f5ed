//! A worker process: started, listened to, and never outlived.
//!
//! A worker dies with the engine in three ways: it asks the kernel for a death
//! signal when its parent *thread* ends (so all workers are started from the
//! run's own thread), it leaves when its standard input ends, and the engine
//! kills its process group when it stops or when the worker itself is gone.
//! What has left that group is found by `strays`, after the worker's end or, if
//! the engine was killed, by the next run.
//!
//! A launcher may start the worker on another machine, where neither the death
//! signal nor the group reaches it. It is asked to end first, which it can pass
//! on, and killed if that takes too long; the end of standard input reaches the
//! worker through it.

mod command;
mod end;
mod group;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use moreline_protocol::PROTOCOL_VERSION;
use moreline_protocol::event::Event;

use super::context::is_cpu;
use super::log::StageLog;
use super::task::{Computed, Halt, Spawn, Task};
use super::{StageFailure, resident, strays};
use crate::store::AtPath;
use end::{describe, tail, too_large};
use group::{ask_group, has_ended, kill_group};

/// How often the engine looks after a quiet worker.
const POLL: Duration = Duration::from_millis(20);
/// How long output may trickle in after a worker's end.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a launcher may take to end its worker.
const GRACE: Duration = Duration::from_secs(10);
/// Longest line taken as an event.
const MAX_LINE: u64 = 64 << 20;

/// Runs a worker on a job file until it ends.
pub(super) fn run_worker(task: &Task<'_>, job: &Path, spawn: &Spawn<'_>) -> Result<Computed, Halt> {
    let log = task.context.journal.log(&task.stage.name)?;
    let mut command = command::command(task, job);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.open().at("write", log.path())?)
        .process_group(0);
    let mut child =
        spawn(command).map_err(|error| Halt::Failed(command::not_started(task, &error)))?;
    let mut worker = Worker::new(task, &log, &mut child);
    worker.listen(&mut child, attempt(job));
    let status = child.wait().at("wait for the worker of", job)?;
    worker.end(status)
}

/// The attempt's directory, where its job lies.
fn attempt(job: &Path) -> &Path {
    job.parent().unwrap_or(job)
}

/// What is known of a running worker.
struct Worker<'a> {
    task: &'a Task<'a>,
    log: &'a StageLog,
    lines: Receiver<Vec<u8>>,
    computed: Computed,
    finished: bool,
    failure: Option<StageFailure>,
    stopped: bool,
    /// When the worker's memory is looked at next.
    weigh: Instant,
    /// When a launcher that was asked to end is killed.
    kill_at: Option<Instant>,
}

impl<'a> Worker<'a> {
    fn new(task: &'a Task<'a>, log: &'a StageLog, child: &mut Child) -> Self {
        let (sender, lines) = unbounded();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || read_lines(output, &sender));
        }
        Self {
            task,
            log,
            lines,
            computed: Computed::default(),
            finished: false,
            failure: None,
            stopped: false,
            weigh: Instant::now() + resident::EVERY,
            kill_at: None,
        }
    }

    /// Takes events until the process has ended, then kills what is left of
    /// its group and of the attempt. The process stays unreaped, so that its id is still its own.
    fn listen(&mut self, child: &mut Child, attempt: &Path) {
        let mut open = true;
        while !has_ended(child) {
            self.log.bound();
            if self.task.context.is_stopped() && !self.stopped {
                self.stopped = true;
                self.stop(child);
            }
            if self.kill_at.is_some_and(|at| Instant::now() > at) {
                kill_group(child);
            }
            self.weigh(child);
            if !open {
                std::thread::sleep(POLL / 4);
                continue;
            }
            match self.lines.recv_timeout(POLL) {
                Ok(line) => self.line(&line, child),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        }
        kill_group(child);
        strays::end(attempt);
        while let Ok(line) = self.lines.recv_timeout(DRAIN) {
            self.line(&line, child);
        }
    }

    /// Ends the worker: at once, or through its launcher.
    fn stop(&mut self, child: &Child) {
        if command::is_launched(self.task) {
            ask_group(child);
            self.kill_at.get_or_insert(Instant::now() + GRACE);
        } else {
            kill_group(child);
        }
    }

    /// Looks now and then at what a worker on the CPU holds, and ends one that
    /// holds more than all of them may.
    fn weigh(&mut self, child: &Child) {
        let context = self.task.context;
        let on_cpu = self.task.device.as_deref().is_some_and(is_cpu);
        let Some(limit) = context.memory_limit().filter(|_| on_cpu) else {
            return;
        };
        if Instant::now() < self.weigh {
            return;
        }
        self.weigh = Instant::now() + resident::EVERY;
        let held = context.resident.of(child.id()).unwrap_or_default() >> 20;
        self.task.seen.fetch_max(held, Ordering::Relaxed);
        if held > limit && self.failure.is_none() {
            self.failure = Some(too_large(&self.task.stage.name, held, limit));
            self.stop(child);
        }
    }

    fn line(&mut self, line: &[u8], child: &Child) {
        match serde_json::from_slice(line) {
            Ok(Event::Started {
                protocol,
                fingerprint,
            }) => {
                self.computed.fingerprint = Some(fingerprint);
                if protocol != PROTOCOL_VERSION {
                    self.failure = Some(
                        StageFailure::new(format!(
                            "the worker speaks protocol {protocol}, this program {PROTOCOL_VERSION}"
                        ))
                        .with_hint("build both programs from the same sources"),
                    );
                    self.stop(child);
                }
            }
            Ok(Event::Finished { metrics, timings }) => {
                self.finished = true;
                self.computed.metrics = metrics;
                self.computed.timings = timings;
            }
            Ok(Event::Failed { message, hint }) => {
                let failure = StageFailure::new(message);
                self.failure = Some(StageFailure { hint, ..failure });
            }
            Ok(event) => self.task.forward(event, self.log),
            Err(_) => self.log.line(&String::from_utf8_lossy(line)),
        }
    }

    fn end(self, status: ExitStatus) -> Result<Computed, Halt> {
        if self.stopped {
            return Err(Halt::Stopped);
        }
        if let Some(failure) = self.failure {
            return Err(Halt::Failed(failure));
        }
        if self.finished && status.success() {
            return Ok(self.computed);
        }
        let message = format!("{}{}", describe(status), tail(self.log.path()));
        let mut hint = format!("its log is {}", self.log.path().display());
        if status.signal().is_some() {
            hint.push_str(
                "; run again: what is committed is kept, and a stage that left a checkpoint goes \
                 on from it",
            );
        }
        Err(Halt::Failed(StageFailure::new(message).with_hint(hint)))
    }
}

fn read_lines(output: ChildStdout, sender: &crossbeam_channel::Sender<Vec<u8>>) {
    let mut reader = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        if !line.is_empty() && sender.send(line).is_err() {
            return;
        }
    }
}
