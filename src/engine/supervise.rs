//! A worker process: started, listened to, and never outlived.
//!
//! A worker dies with the engine in three ways: it asks the kernel for a death
//! signal when its parent *thread* ends (so all workers are started from the
//! run's own thread), it leaves when its standard input ends, and the engine
//! kills its process group when it stops or when the worker itself is gone.
//! What has left that group is found by `strays`, after the worker's end or, if
//! the engine was killed, by the next run.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use moreline_protocol::PROTOCOL_VERSION;
use moreline_protocol::event::Event;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::log::StageLog;
use super::task::{Computed, Halt, Spawn, Task};
use super::{StageFailure, strays};
use crate::config::CacheLayer;
use crate::store::AtPath;

/// Turns a worker's threads spin at a barrier before they sleep. libgomp's own
/// 300,000 make a training many times slower as soon as anything else runs on
/// the machine; a few thousand cost nothing on a quiet one.
const SPINS: &str = "2000";

/// Matrix products that oneDNN, and libtorch above it, keep compiled. A batch has
/// sizes of its own and needs about twenty; the thousand kept otherwise grow to
/// gigabytes over a training.
const PRIMITIVES: [(&str, &str); 2] = [
    ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128"),
    ("LRU_CACHE_CAPACITY", "128"),
];

/// Ask for large pages: a training touches gigabytes, and page by page that is a
/// good part of its first steps (glibc 2.35 and later, others take no notice).
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";

/// How often the engine looks after a quiet worker.
const POLL: Duration = Duration::from_millis(20);
/// How long output may trickle in after a worker's end.
const DRAIN: Duration = Duration::from_secs(2);
/// Longest line taken as an event.
const MAX_LINE: u64 = 64 << 20;
/// How much of a log a failure shows.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// Runs a worker on a job file until it ends.
pub(super) fn run_worker(task: &Task<'_>, job: &Path, spawn: &Spawn<'_>) -> Result<Computed, Halt> {
    let log = task.context.journal.log(&task.stage.name)?;
    let program = task.context.site.worker.as_ref();
    let program = program.unwrap_or(&task.context.options.worker);
    let mut command = Command::new(program);
    command
        .args(["run", "--job"])
        .arg(job)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.open().at("write", log.path())?)
        .process_group(0)
        .env("GOMP_SPINCOUNT", SPINS)
        .env("GLIBC_TUNABLES", HUGE_PAGES)
        .envs(PRIMITIVES)
        .env(strays::ATTEMPT, attempt(job));
    for name in secrets(task) {
        command.env_remove(name);
    }
    let mut child = spawn(command).map_err(|error| {
        let message = format!("cannot start the worker {}: {error}", program.display());
        let hint = "build it with `cargo build --release`, or name it as `worker` in the site file";
        Halt::Failed(StageFailure::new(message).with_hint(hint))
    })?;
    let mut worker = Worker::new(task, &log, &mut child);
    worker.listen(&mut child, attempt(job));
    let status = child.wait().at("wait for", program)?;
    worker.end(status)
}

/// The attempt's directory, where its job lies.
fn attempt(job: &Path) -> &Path {
    job.parent().unwrap_or(job)
}

/// Names of the environment variables that hold keys: none is a worker's.
fn secrets<'a>(task: &'a Task<'_>) -> impl Iterator<Item = &'a str> {
    let endpoints = task.context.site.endpoint.values();
    let keys = endpoints.filter_map(|endpoint| endpoint.key_env.as_deref());
    let layers = task.context.site.cache_layers.iter();
    keys.chain(layers.flat_map(CacheLayer::variables))
        .chain(["HF_TOKEN", "HF_ENDPOINT"])
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
                kill_group(child);
            }
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
                    kill_group(child);
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

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// True once the process has ended; it is not reaped.
fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match pid(child).map(|pid| waitid(WaitId::Pid(pid), options)) {
        Some(Ok(status)) => status.is_some(),
        Some(Err(rustix::io::Errno::INTR)) => false,
        Some(Err(_)) | None => true,
    }
}

fn kill_group(child: &Child) {
    if let Some(pid) = pid(child) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn describe(status: ExitStatus) -> String {
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
fn tail(log: &Path) -> String {
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
