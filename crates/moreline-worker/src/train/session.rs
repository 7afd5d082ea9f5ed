//! The loop that every kind of training shares: steps, evaluation, checkpoints,
//! history.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use moreline_protocol::artifact::{ADAPTER, MODEL};
use moreline_protocol::event::{Level, Metrics};
use moreline_protocol::rows::{FedRow, HistoryRow};
use moreline_protocol::spec::{Precision, Sft, TrainReward};
use moreline_text::Tokenizer;
use serde_json::json;
use tch::Kind;

use super::checkpoint::{Checkpoints, State};
use super::optimiser::Optimiser;
use super::order::{Order, RowId};
use super::rates::Rates;
use super::saved::{self, Saved};
use super::settings::Settings;
use super::watch::{Figures, Found, Moment, Watch, Watching};
use super::weighting::Memory;
use super::weights::TrainWeights;
use crate::error::WorkerError;
use crate::model::{Decoder, ExportHead, compute_kind};
use crate::stage::context::{Context, metrics};

/// Steps after which freed memory goes back to the system. Batches differ in
/// size, so that what one leaves does not fit the next: without this, memory
/// creeps up. To touch it anew takes a fraction of a second.
const GIVE_BACK_EVERY: u64 = 8;

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

    /// Figures on the sets that nothing is learnt from: `loss`, `SET/loss`, ...
    ///
    /// # Errors
    /// Values that are not finite.
    fn evaluate(&self, core: &Core<'_>) -> Result<Figures, WorkerError>;

    /// What the task itself carries from step to step.
    fn memory(&self) -> Memory {
        Memory::default()
    }

    /// Takes over what [`Self::memory`] gave.
    fn restore(&mut self, _memory: Memory) {}

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
    /// What parts of the step took, by name; what is left went into the
    /// backward passes and the optimiser. Empty where they are not told apart.
    pub took: Vec<(&'static str, Duration)>,
}

/// A training from its first step to its last.
pub(super) struct Session<'a, T> {
    pub core: Core<'a>,
    pub task: T,
    pub optimiser: Optimiser,
    /// The steps taken so far, those of killed runs included. Evaluation before
    /// the first step is step 0.
    pub history: Vec<HistoryRow>,
    /// Tokens computed so far, likewise.
    pub tokens: u64,
    order: Order,
    settings: Settings,
    watch: Watch,
    checkpoints: Checkpoints,
    saved: Saved,
    rates: Rates,
}

impl<'a, T: Task> Session<'a, T> {
    /// A training that takes the batches of `order`.
    pub(super) fn new(
        core: Core<'a>,
        task: T,
        optimiser: Optimiser,
        order: Order,
        settings: Settings,
    ) -> Self {
        let partial = &core.context.job.partial_dir;
        Self {
            checkpoints: Checkpoints::new(partial, settings.keeping),
            saved: Saved::new(partial, settings.save_every),
            core,
            task,
            optimiser,
            history: Vec::new(),
            tokens: 0,
            order,
            settings,
            watch: Watch::default(),
            rates: Rates::default(),
        }
    }

    /// Trains to the end, from where a killed run left off. The weights are
    /// those to be given in the end.
    ///
    /// # Errors
    /// A checkpoint that cannot be removed, training that diverges, an
    /// intermediate model that another stage takes and this one will not reach.
    pub(super) fn train(&mut self) -> Result<(), WorkerError> {
        let job = self.core.context.job;
        let batches = std::mem::take(&mut self.order);
        self.saved
            .check(job, batches.batches().len() as u64, &self.settings)?;
        let clock = Instant::now();
        let start = self.resume()?;
        self.steps(&batches, start)?;
        self.order = batches;
        self.take_best()?;
        self.rates.seconds = clock.elapsed().as_secs_f64();
        Ok(())
    }

    fn steps(&mut self, order: &Order, start: usize) -> Result<(), WorkerError> {
        let batches = order.batches();
        let total: usize = batches.iter().map(Vec::len).sum();
        let mut done: usize = batches[..start].iter().map(Vec::len).sum();
        let (phase, unit) = T::PHASE;
        let events = self.core.context.events;
        events.progress(phase, done, total, unit);
        if start == 0 {
            self.evaluate_at_start()?;
        }
        for (index, batch) in batches.iter().enumerate().skip(start) {
            self.step(index as u64, batch)?;
            let moment = Moment {
                step: index as u64 + 1,
                before: done,
                after: done + batch.len(),
                epoch: order.epoch_rows(),
                last: index + 1 == batches.len(),
            };
            done = moment.after;
            if moment.step.is_multiple_of(GIVE_BACK_EVERY) {
                torch_ext_sys::give_back_memory();
            }
            events.progress(phase, done, total, unit);
            if self.after_step(&moment)? {
                break;
            }
        }
        Ok(())
    }

    /// Evaluates, gives the model and writes a checkpoint where they are due;
    /// whether to stop.
    fn after_step(&mut self, moment: &Moment) -> Result<bool, WorkerError> {
        if let Some(watching) = self.settings.watching.filter(|w| w.due(moment)) {
            self.evaluate(moment.step, &watching)?;
        }
        if self.saved.due(moment.step) {
            self.saved.save(&self.core, self.task.head(), moment.step)?;
        }
        if self.watch.stop {
            let message = format!("no improvement: stopped after step {}", moment.step);
            self.core.context.events.log(Level::Info, message);
            return Ok(true);
        }
        if !moment.last && self.checkpoints.due(moment.step) {
            let state = self.state(moment.step);
            self.checkpoints.save(&self.core.weights, &state)?;
        }
        Ok(false)
    }

    /// Takes over the newest checkpoint; the number of steps done.
    fn resume(&mut self) -> Result<usize, WorkerError> {
        let events = self.core.context.events;
        let tell = |message| events.log(Level::Warn, message);
        let found = self.checkpoints.load(&mut self.core.weights, &tell)?;
        let Some(state) = found else {
            return Ok(0);
        };
        let message = format!("going on after step {}", state.step);
        events.log(Level::Info, message);
        self.optimiser.taken = state.taken;
        self.optimiser.bad = state.bad;
        self.optimiser.skipped = state.skipped;
        self.task.restore(state.memory);
        self.watch = state.watch;
        self.history = state.history;
        self.tokens = state.tokens;
        // Whoever draws curves of this run gets the whole of them.
        for row in &self.history {
            events.scalars(row.step, &row.values);
        }
        Ok(state.step as usize)
    }

    fn state(&self, step: u64) -> State {
        let keeps = self.settings.watching.is_some_and(|w| w.keep_best);
        State {
            step,
            taken: self.optimiser.taken,
            bad: self.optimiser.bad,
            skipped: self.optimiser.skipped,
            tokens: self.tokens,
            memory: self.task.memory(),
            best: self.watch.best_step().filter(|_| keeps),
            watch: self.watch.clone(),
            history: self.history.clone(),
        }
    }

    /// Step `step`, counted from 0.
    fn step(&mut self, step: u64, batch: &[RowId]) -> Result<(), WorkerError> {
        let clock = Instant::now();
        let found = self.task.gradients(&mut self.core, batch);
        let found = found.map_err(|e| e.at_step(step + 1))?;
        let applied = self.optimiser.apply(step, &mut self.core.weights)?;
        self.tokens += found.tokens;
        let rates = self.rates.step(&found, clock.elapsed());
        let mut values = found.values;
        values.insert("grad_norm".into(), applied.grad_norm);
        values.insert("lr".into(), applied.lr);
        values.insert("tokens".into(), found.tokens as f64);
        // JSON has no NaN: a skipped step has no gradient norm, nor perhaps a loss.
        values.retain(|_, value| value.is_finite());
        // Rates are told, but not kept: outputs hold no timings.
        let mut told = values.clone();
        told.extend(rates);
        self.core.context.events.scalars(step + 1, &told);
        let step = step + 1;
        self.history.push(HistoryRow { step, values });
        Ok(())
    }

    fn evaluate_at_start(&mut self) -> Result<(), WorkerError> {
        let Some(watching) = self.settings.watching.filter(|w| w.at_start) else {
            return Ok(());
        };
        let values = BTreeMap::new();
        self.history.push(HistoryRow { step: 0, values });
        self.evaluate(0, &watching)
    }

    /// Evaluates after step `step`, whose row is the history's last.
    fn evaluate(&mut self, step: u64, watching: &Watching) -> Result<(), WorkerError> {
        let figures = self.task.evaluate(&self.core);
        let figures = figures.map_err(|e| e.at_step(step))?;
        let named = figures.iter().map(|(name, x)| (format!("eval/{name}"), *x));
        let values: BTreeMap<String, f64> = named.collect();
        self.core.context.events.scalars(step, &values);
        if let Some(row) = self.history.last_mut() {
            row.values.extend(values);
        }
        let best = self.watch.observe(watching, Found { step, figures });
        if best && watching.keep_best {
            self.checkpoints.save_best(&self.core.weights, step)?;
        }
        Ok(())
    }

    /// Goes back to the weights of the best evaluation, if they are to be given.
    fn take_best(&mut self) -> Result<(), WorkerError> {
        let keeps = self.settings.watching.is_some_and(|w| w.keep_best);
        match self.watch.best_step() {
            Some(best) if keeps && best != self.steps_taken() => {
                self.checkpoints.load_best(&mut self.core.weights, best)
            }
            _ => Ok(()),
        }
    }

    /// Steps done, those of killed runs included.
    pub(super) fn steps_taken(&self) -> u64 {
        self.history.last().map_or(0, |row| row.step)
    }

    /// Rows drawn so far from each of `sets` sets.
    pub(super) fn drawn(&self, sets: usize) -> Vec<usize> {
        self.order.drawn(self.steps_taken() as usize, sets)
    }

    /// What evaluation found, for the stage's metrics; nothing without it.
    pub(super) fn evaluation(&self) -> Metrics {
        let (Some(watching), Some(best), Some(last)) =
            (self.settings.watching, &self.watch.best, &self.watch.last)
        else {
            return Metrics::new();
        };
        let given = if watching.keep_best { best } else { last };
        let found = json!({
            "evaluations": self.watch.evaluations,
            "best_step": best.step,
            "best": best.figures,
            "given_step": given.step,
            "evaluation": given.figures,
            "stopped_early": self.watch.stop,
        });
        metrics(found)
    }

    /// Writes the trained model, the history and the first texts.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn export(&self, fed: &[FedRow]) -> Result<(), WorkerError> {
        let context = self.core.context;
        saved::write_model(&self.core, self.task.head(), &context.output(MODEL))?;
        saved::write_adapter(&self.core, &context.output(ADAPTER))?;
        self.saved
            .give(&context.job.output_dir, self.steps_taken())?;
        saved::write_history(context, &self.history, fed)
    }

    /// Seconds and rates of this process, after `setup` seconds of preparation.
    pub(super) fn timings(&self, setup: f64) -> BTreeMap<String, f64> {
        self.rates.timings(setup)
    }
}
