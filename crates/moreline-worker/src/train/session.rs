//! The loop that every kind of training shares: steps, checkpoints, history.

use std::collections::BTreeMap;
use std::time::Instant;

use moreline_protocol::artifact;
use moreline_protocol::event::Level;
use moreline_protocol::rows::{FedRow, HistoryRow};
use moreline_protocol::spec::{Precision, Sft, TrainReward};
use moreline_text::Tokenizer;
use tch::Kind;

use super::checkpoint::{self, State};
use super::optimiser::Optimiser;
use super::order::{Order, RowId};
use super::peft;
use super::weights::TrainWeights;
use crate::error::WorkerError;
use crate::model::{Decoder, ExportHead, Exporter, compute_kind};
use crate::stage::context::{Context, write_fed, write_rows};

/// What differs between kinds of training.
pub(super) trait Task {
    /// What the loop is called in progress, and what it counts.
    const PHASE: (&'static str, &'static str);

    /// Forward and backward of one global batch. The gradients are left in
    /// the weights.
    ///
    /// # Errors
    /// Values that are not finite, and what libtorch throws.
    fn gradients(&mut self, core: &mut Core<'_>, batch: &[RowId])
    -> Result<Gradients, WorkerError>;

    /// What the task itself carries from step to step.
    fn momentum(&self) -> Vec<Vec<f64>> {
        Vec::new()
    }

    /// Takes over what [`Self::momentum`] gave.
    fn restore(&mut self, _momentum: Vec<Vec<f64>>) {}

    /// The head of the model that is written.
    fn head(&self) -> ExportHead<'_>;
}

/// What every training works on.
pub(super) struct Core<'a> {
    /// The stage.
    pub context: &'a Context<'a>,
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The topology.
    pub decoder: Decoder,
    /// What is trained.
    pub weights: TrainWeights,
    /// Precision of matrix products.
    pub precision: Precision,
    /// How the model is written.
    pub written: Written,
}

/// How a trained model is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Precision of the weights.
    pub precision: Precision,
    /// Largest weight file.
    pub max_shard_mb: u32,
    /// Whether the adapter is written by itself too.
    pub adapter: bool,
}

macro_rules! written_of {
    ($($spec:ty),*) => {$(
        impl From<&$spec> for Written {
            fn from(spec: &$spec) -> Self {
                Self {
                    precision: spec.export_precision.unwrap_or(spec.precision),
                    max_shard_mb: spec.max_shard_mb,
                    adapter: spec.lora.as_ref().is_some_and(|lora| lora.save_adapter),
                }
            }
        }
    )*};
}

written_of!(TrainReward, Sft);

impl Core<'_> {
    /// Dtype of matrix products.
    pub(super) fn kind(&self) -> Kind {
        compute_kind(self.precision)
    }
}

/// What a step's forward and backward passes found.
pub(super) struct Gradients {
    /// The step's figures, by their names in the history.
    pub values: BTreeMap<String, f64>,
    /// Tokens computed.
    pub tokens: u64,
    /// Pairs compared; 0 where there are none.
    pub pairs: u64,
}

/// A training from its first step to its last.
pub(super) struct Session<'a, T> {
    pub core: Core<'a>,
    pub task: T,
    pub optimiser: Optimiser,
    /// The steps taken so far, those of killed runs included.
    pub history: Vec<HistoryRow>,
    /// Tokens computed so far, likewise.
    pub tokens: u64,
    batches: Vec<Vec<RowId>>,
    checkpoint_every: u64,
    here: Here,
}

/// Work of this process, without what a checkpoint brought.
#[derive(Default)]
struct Here {
    tokens: u64,
    pairs: u64,
    seconds: f64,
}

impl<'a, T: Task> Session<'a, T> {
    /// A training that takes the batches of `order`.
    pub(super) fn new(
        core: Core<'a>,
        task: T,
        optimiser: Optimiser,
        order: Order,
        checkpoint_every: u64,
    ) -> Self {
        Self {
            core,
            task,
            optimiser,
            history: Vec::new(),
            tokens: 0,
            batches: order.into_batches(),
            checkpoint_every: checkpoint_every.max(1),
            here: Here::default(),
        }
    }

    /// Trains to the end, from where a killed run left off.
    ///
    /// # Errors
    /// A checkpoint that cannot be read back, training that diverges.
    pub(super) fn train(&mut self) -> Result<(), WorkerError> {
        let clock = Instant::now();
        let start = self.resume()?;
        let batches = std::mem::take(&mut self.batches);
        let total: usize = batches.iter().map(Vec::len).sum();
        let mut done: usize = batches[..start].iter().map(Vec::len).sum();
        let (phase, unit) = T::PHASE;
        for (step, batch) in batches.iter().enumerate().skip(start) {
            self.step(step as u64, batch)?;
            done += batch.len();
            let events = self.core.context.events;
            events.progress(phase, done, total, unit);
            let finished = step as u64 + 1;
            if finished.is_multiple_of(self.checkpoint_every) && done < total {
                self.save(finished)?;
            }
        }
        self.here.seconds = clock.elapsed().as_secs_f64();
        Ok(())
    }

    /// Takes over the newest checkpoint; the number of steps done.
    fn resume(&mut self) -> Result<usize, WorkerError> {
        let context = self.core.context;
        let partial = &context.job.partial_dir;
        let found = checkpoint::load(partial, &mut self.core.weights, &mut self.optimiser)?;
        let Some(state) = found else {
            return Ok(0);
        };
        let message = format!("going on after step {}", state.step);
        context.events.log(Level::Info, message);
        self.task.restore(state.momentum);
        self.history = state.history;
        self.tokens = state.tokens;
        Ok(state.step as usize)
    }

    fn save(&self, step: u64) -> Result<(), WorkerError> {
        let state = State {
            step,
            taken: self.optimiser.taken,
            bad: self.optimiser.bad,
            skipped: self.optimiser.skipped,
            tokens: self.tokens,
            momentum: self.task.momentum(),
            history: self.history.clone(),
        };
        let partial = &self.core.context.job.partial_dir;
        checkpoint::save(partial, &self.core.weights, &state)
    }

    /// Step `step`, counted from 0.
    fn step(&mut self, step: u64, batch: &[RowId]) -> Result<(), WorkerError> {
        let found = self.task.gradients(&mut self.core, batch);
        let found = found.map_err(|e| e.at_step(step + 1))?;
        let applied = self.optimiser.apply(step, &mut self.core.weights)?;
        self.tokens += found.tokens;
        self.here.tokens += found.tokens;
        self.here.pairs += found.pairs;
        let mut values = found.values;
        values.insert("grad_norm".into(), applied.grad_norm);
        values.insert("lr".into(), applied.lr);
        values.insert("tokens".into(), found.tokens as f64);
        // JSON has no NaN: a skipped step has no loss.
        values.retain(|_, value| value.is_finite());
        self.core.context.events.scalars(step + 1, &values);
        let step = step + 1;
        self.history.push(HistoryRow { step, values });
        Ok(())
    }

    /// Writes the trained model, the history and the first texts.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn export(&self, fed: &[FedRow]) -> Result<(), WorkerError> {
        let context = self.core.context;
        let dir = context.output(artifact::MODEL);
        std::fs::create_dir_all(&dir).map_err(|e| WorkerError::io("create", &dir, e))?;
        let exporter = Exporter {
            decoder: &self.core.decoder,
            tokenizer: self.core.tokenizer,
            precision: self.core.written.precision,
            max_shard_bytes: u64::from(self.core.written.max_shard_mb) * 1_000_000,
        };
        let flats = self.core.weights.export_flats(exporter.kind());
        exporter.write(&dir, &flats, self.task.head())?;
        if self.core.written.adapter {
            let dir = context.output(artifact::ADAPTER);
            peft::write(
                &dir,
                &self.core.decoder,
                &self.core.weights,
                exporter.kind(),
            )?;
        }
        write_rows(&context.output(artifact::HISTORY), &self.history)?;
        write_fed(&context.output(artifact::FED), fed)
    }

    /// Seconds and rates of this process, after `setup` seconds of preparation.
    pub(super) fn timings(&self, setup: f64) -> BTreeMap<String, f64> {
        let rate = |count: u64| count as f64 / self.here.seconds.max(1e-9);
        let mut timings = vec![
            ("setup_s", setup),
            ("work_s", self.here.seconds),
            ("tokens_per_s", rate(self.here.tokens)),
        ];
        if self.here.pairs > 0 {
            timings.push(("pairs_per_s", rate(self.here.pairs)));
        }
        let named = |(name, value): (&str, f64)| (name.to_owned(), value);
        timings.into_iter().map(named).collect()
    }
}
