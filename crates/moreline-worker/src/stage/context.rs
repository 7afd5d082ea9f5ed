//! What every stage gets: its job, its device, and a way to speak.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use moreline_protocol::event::{Event, Level, Metrics};
use moreline_protocol::job::{Input, Job, RowRange};
use moreline_protocol::rows::FedRow;
use tch::Device;

use crate::error::WorkerError;

/// Where events go.
pub struct Events {
    out: Mutex<Box<dyn Write + Send>>,
    last_progress: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

/// Progress is told at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

impl Events {
    /// Events as JSON lines to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out: Mutex::new(out),
            last_progress: Mutex::new(None),
        }
    }

    /// Sends one event. A reader that is gone is not an error here: the
    /// control pipe ends the worker.
    pub fn send(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return;
        };
        line.push(b'\n');
        if let Ok(mut out) = self.out.lock() {
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }

    /// Tells how far a phase is; dropped if the last one was just sent, unless
    /// it is the end.
    pub fn progress(&self, phase: &str, done: usize, total: usize, unit: &str) {
        if let Ok(mut last) = self.last_progress.lock() {
            let recent = last.is_some_and(|at| at.elapsed() < PROGRESS_EVERY);
            if recent && done < total {
                return;
            }
            *last = Some(Instant::now());
        }
        self.send(&Event::Progress {
            phase: phase.into(),
            done: done as u64,
            total: total as u64,
            unit: unit.into(),
        });
    }

    /// A line for the log.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.send(&Event::Log {
            level,
            message: message.into(),
        });
    }

    /// Values of a training step.
    pub fn scalars(&self, step: u64, values: &BTreeMap<String, f64>) {
        self.send(&Event::Scalars {
            step,
            values: values.clone(),
        });
    }
}

/// A stage being run.
#[derive(Debug)]
pub struct Context<'a> {
    /// The job.
    pub job: &'a Job,
    /// Where events go.
    pub events: &'a Events,
    /// Where tensors live.
    pub device: Device,
}

/// What a stage gives besides its output files.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Results; no timings.
    pub metrics: Metrics,
    /// Seconds and rates.
    pub timings: BTreeMap<String, f64>,
}

impl Context<'_> {
    /// The only input of a role.
    ///
    /// # Errors
    /// A job without it.
    pub fn input(&self, role: &str) -> Result<&Input, WorkerError> {
        self.job.input(role).ok_or_else(|| {
            WorkerError::input(
                format!(
                    "run stage `{}`: its job has no input `{role}`",
                    self.job.stage
                ),
                "run it through `moreline run`, whose version must be this worker's",
            )
        })
    }

    /// The rows of an input that take part.
    pub fn rows(&self, input: &Input) -> RowRange {
        input.rows.capped(self.job.spec.limit(&input.role))
    }

    /// Path of an output.
    pub fn output(&self, name: &str) -> PathBuf {
        self.job.output_dir.join(name)
    }

    /// The token budget.
    pub fn token_budget(&self) -> usize {
        self.job.resources.token_budget.max(1) as usize
    }
}

/// Writes the first texts of each set as they were fed.
///
/// # Errors
/// The system's.
pub fn write_fed(path: &Path, fed: &[FedRow]) -> Result<(), WorkerError> {
    write_rows(path, fed)
}

/// Writes rows as JSON Lines and syncs them.
///
/// # Errors
/// The system's.
pub fn write_rows<T: serde::Serialize>(path: &Path, rows: &[T]) -> Result<(), WorkerError> {
    let failed = |e| WorkerError::io("write", path, e);
    let file = std::fs::File::create(path).map_err(failed)?;
    let mut out = std::io::BufWriter::new(file);
    for row in rows {
        serde_json::to_writer(&mut out, row).map_err(|e| failed(e.into()))?;
        out.write_all(b"\n").map_err(failed)?;
    }
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)
}

/// Turns a struct's fields or a map into metrics.
pub fn metrics(value: serde_json::Value) -> Metrics {
    match value {
        serde_json::Value::Object(map) => map,
        _ => Metrics::new(),
    }
}
