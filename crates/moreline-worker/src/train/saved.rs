//! The models a training gives: the last, and those on the way.
//!
//! A model on the way is written to `partial/saved/step-N/` when its step is
//! done, so that a killed training still has it, and copied to the outputs at
//! the end.

use std::fs;
use std::path::{Path, PathBuf};

use moreline_protocol::artifact::{self, OutputName};
use moreline_protocol::job::Job;
use moreline_protocol::rows::{FedRow, HistoryRow};

use super::peft;
use super::sealed;
use super::session::Core;
use super::settings::Settings;
use crate::error::WorkerError;
use crate::model::{ExportHead, Exporter};
use crate::stage::context::{Context, write_fed, write_rows};

/// The intermediate models of a training.
pub(super) struct Saved {
    folder: PathBuf,
    every: Option<u64>,
}

impl Saved {
    /// One after every `every` steps, kept in the stage's partial folder.
    pub(super) fn new(partial: &Path, every: Option<u64>) -> Self {
        Self {
            folder: partial.join("saved"),
            every,
        }
    }

    /// Whether the model after a step is one of them.
    pub(super) fn due(&self, step: u64) -> bool {
        self.every.is_some_and(|every| step.is_multiple_of(every))
    }

    fn place(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    /// Refuses to train where another stage takes a step that will not come.
    ///
    /// # Errors
    /// Names the step and the number of steps.
    pub(super) fn check(
        &self,
        job: &Job,
        total: u64,
        settings: &Settings,
    ) -> Result<(), WorkerError> {
        let comes = |step: &&u64| **step <= total && self.due(**step);
        let Some(step) = job.wanted_steps.iter().find(|step| !comes(step)) else {
            return Ok(());
        };
        let every = settings.save_every.unwrap_or(1);
        let last = total / every * every;
        let hint = if last == 0 {
            format!("set `save_every` to {total} or less, or train for longer")
        } else {
            format!("take `@step-{last}`, or train for longer")
        };
        Err(WorkerError::input(
            format!(
                "give the model after step {step}, which another stage takes: the training has {total} steps"
            ),
            hint,
        ))
    }

    /// Writes the model after a step.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn save(
        &self,
        core: &Core<'_>,
        head: ExportHead<'_>,
        step: u64,
    ) -> Result<(), WorkerError> {
        sealed::write(&self.place(step), |dir| write_model(core, head, dir))
    }

    /// Copies the models on the way to the outputs of a training of so many
    /// steps.
    ///
    /// # Errors
    /// One that is gone or damaged, and the system's.
    pub(super) fn give(&self, outputs: &Path, steps: u64) -> Result<(), WorkerError> {
        let Some(every) = self.every else {
            return Ok(());
        };
        for step in (every..=steps).step_by(every as usize) {
            let place = self.place(step);
            let files = sealed::check(&place).map_err(|reason| {
                WorkerError::input(
                    format!(
                        "read the model after step {step} from {}: {reason}",
                        place.display()
                    ),
                    "remove the stage's partial folder; the stage starts over",
                )
            })?;
            let to = outputs.join(OutputName::Step(step).to_string());
            fs::create_dir_all(&to).map_err(|e| WorkerError::io("create", &to, e))?;
            for file in files {
                let target = to.join(file.file_name().unwrap_or_default());
                fs::copy(&file, &target).map_err(|e| WorkerError::io("copy", &file, e))?;
            }
        }
        Ok(())
    }
}

/// Writes the model in its present state into a folder, which is made if it is
/// not there.
///
/// # Errors
/// The system's.
pub(super) fn write_model(
    core: &Core<'_>,
    head: ExportHead<'_>,
    dir: &Path,
) -> Result<(), WorkerError> {
    fs::create_dir_all(dir).map_err(|e| WorkerError::io("create", dir, e))?;
    let exporter = exporter(core);
    let flats = core.weights.export_flats(exporter.kind());
    exporter.write(dir, &flats, head)
}

/// Writes the adapter by itself into a new folder, if that is asked for.
///
/// # Errors
/// The system's.
pub(super) fn write_adapter(core: &Core<'_>, dir: &Path) -> Result<(), WorkerError> {
    if !core.written.adapter {
        return Ok(());
    }
    peft::write(dir, &core.decoder, &core.weights, exporter(core).kind())
}

fn exporter<'a>(core: &'a Core<'_>) -> Exporter<'a> {
    Exporter {
        decoder: &core.decoder,
        tokenizer: core.tokenizer,
        precision: core.written.precision,
        max_shard_bytes: u64::from(core.written.max_shard_mb) * 1_000_000,
    }
}

/// Writes the history and the first texts.
///
/// # Errors
/// The system's.
pub(super) fn write_history(
    context: &Context<'_>,
    history: &[HistoryRow],
    fed: &[FedRow],
) -> Result<(), WorkerError> {
    write_rows(&context.output(artifact::HISTORY), history)?;
    write_fed(&context.output(artifact::FED), fed)
}
