//! Running one job: which loop, which errors, which events.

pub mod context;
mod generate;
pub mod journal;

use std::time::Instant;

use moreline_protocol::PROTOCOL_VERSION;
use moreline_protocol::event::Event;
use moreline_protocol::job::Job;
use moreline_protocol::spec::StageSpec;

use crate::error::WorkerError;
use crate::{device, evaluate, score, train};
use context::{Context, Events, Outcome};

/// Runs a job to its end and sends its events. Returns whether it succeeded.
pub fn run(job: &Job, events: &Events) -> bool {
    let started = Instant::now();
    match work(job, events) {
        Ok(mut outcome) => {
            outcome
                .timings
                .insert("total_s".into(), started.elapsed().as_secs_f64());
            if let Some(megabytes) = peak_memory_mb() {
                outcome.timings.insert("peak_memory_mb".into(), megabytes);
            }
            events.send(&Event::Finished {
                metrics: outcome.metrics,
                timings: outcome.timings,
            });
            true
        }
        Err(error) => {
            events.send(&Event::Failed {
                message: error.to_string(),
                hint: error.hint(),
            });
            false
        }
    }
}

fn work(job: &Job, events: &Events) -> Result<Outcome, WorkerError> {
    if job.protocol != PROTOCOL_VERSION {
        return Err(WorkerError::input(
            format!(
                "run a job of protocol {}: this worker speaks {PROTOCOL_VERSION}",
                job.protocol
            ),
            "build both programs together: `make build`",
        ));
    }
    let (device, fingerprint) = device::prepare(&job.resources)?;
    events.send(&Event::Started {
        protocol: PROTOCOL_VERSION,
        fingerprint,
    });
    let context = Context {
        job,
        events,
        device,
    };
    match &job.spec {
        StageSpec::TrainReward(spec) => train::train_reward(&context, spec),
        StageSpec::Sft(spec) => train::sft(&context, spec),
        StageSpec::EvaluateReward(spec) => evaluate::evaluate_reward(&context, spec),
        StageSpec::Perplexity(spec) => evaluate::perplexity(&context, spec),
        StageSpec::Generate(spec) => generate::generate(&context, spec),
        StageSpec::Score(spec) => score::score(&context, spec),
        StageSpec::Judge(spec) if spec.model.is_some() => score::judge(&context, spec),
        StageSpec::Judge(_) | StageSpec::Select(_) | StageSpec::Import(_) => {
            Err(WorkerError::input(
                format!("run stage `{}`: its kind runs in the engine", job.stage),
                "run it through `moreline run`",
            ))
        }
    }
}

/// Peak resident memory of this process, from the kernel.
pub(crate) fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
