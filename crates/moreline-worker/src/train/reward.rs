//! `train-reward`.

use std::collections::BTreeMap;
use std::time::Instant;

use moreline_formats::ModelConfig;
use moreline_protocol::artifact;
use moreline_protocol::event::Level;
use moreline_protocol::rows::HistoryRow;
use moreline_protocol::spec::{Method, Mixing, TrainReward};
use moreline_text::Tokenizer;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tch::Tensor;

use super::checkpoint::{self, State};
use super::history::by_tenths;
use super::optimiser::{Applied, Optimiser};
use super::order::{Length, Order, RowId};
use super::reward_rows::{RewardSets, read_sets};
use super::step::{RewardCompute, RewardRow, StepOutcome, pairs_of};
use super::weighting::Weighting;
use super::weights::TrainWeights;
use crate::error::WorkerError;
use crate::model::{ExportHead, Exporter, LoadedModel, compute_kind};
use crate::stage::context::{Context, Outcome, metrics, write_fed, write_rows};
use crate::text::RewardText;

/// Standard deviation of a new reward head.
const HEAD_SD: f64 = 0.02;

/// Trains a reward model: `model/`, `history.jsonl`, `fed.jsonl`.
///
/// # Errors
/// Unreadable inputs, sets without a decided pair, training that diverges.
pub fn train_reward(context: &Context<'_>, spec: &TrainReward) -> Result<Outcome, WorkerError> {
    let started = Instant::now();
    let text = RewardText {
        pooling: spec.pooling,
        template: spec.template,
        max_length: spec.max_length,
        truncation: spec.truncation,
    };
    let model_path = &context.input("model")?.path;
    let tokenizer = Tokenizer::load(model_path)?;
    tokenizer.check_fits(ModelConfig::load(model_path)?.vocab_size)?;
    let sets = read_sets(context, &tokenizer, &text, spec.pairs)?;
    let kind = compute_kind(spec.precision);
    let model = LoadedModel::with_new_reward_head(model_path, kind, context.device, &|config| {
        new_head(config.hidden_size, spec.seed)
    })?;
    check_length(&model.decoder.config, spec.max_length)?;
    let mut run = Run::new(context, spec, &tokenizer, sets, model)?;
    let setup = started.elapsed().as_secs_f64();
    run.train()?;
    let work = started.elapsed().as_secs_f64() - setup;
    run.export(&text)?;
    let mut outcome = Outcome {
        metrics: run.metrics(),
        ..Outcome::default()
    };
    let tokens = run.tokens_here as f64;
    let pairs = run.pairs_here as f64;
    outcome.timings = [
        ("setup_s", setup),
        ("work_s", work),
        ("tokens_per_s", tokens / work),
        ("pairs_per_s", pairs / work),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    Ok(outcome)
}

/// A reward head `[H]` from N(0, 0.02^2), fp32, by Box and Muller from ChaCha8:
/// the same on every machine and libtorch.
fn new_head(hidden: usize, seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX);
    let mut normal = || {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
    };
    let values: Vec<f32> = (0..hidden).map(|_| (HEAD_SD * normal()) as f32).collect();
    Tensor::from_slice(&values)
}

/// Refuses texts longer than the model's positions.
///
/// # Errors
/// Both numbers.
pub(super) fn check_length(config: &ModelConfig, max_length: u32) -> Result<(), WorkerError> {
    if max_length as usize <= config.max_positions {
        return Ok(());
    }
    Err(WorkerError::input(
        format!(
            "train on texts of {max_length} tokens: the model has {} positions",
            config.max_positions
        ),
        format!("set `max_length = {}` or less", config.max_positions),
    ))
}

struct Run<'a> {
    context: &'a Context<'a>,
    spec: &'a TrainReward,
    tokenizer: &'a Tokenizer,
    sets: RewardSets,
    decoder: crate::model::Decoder,
    weights: TrainWeights,
    weighting: Weighting,
    optimiser: Optimiser,
    order: Order,
    history: Vec<HistoryRow>,
    tokens: u64,
    /// Work of this process, without what a checkpoint brought.
    tokens_here: u64,
    pairs_here: u64,
}

impl<'a> Run<'a> {
    fn new(
        context: &'a Context<'a>,
        spec: &'a TrainReward,
        tokenizer: &'a Tokenizer,
        sets: RewardSets,
        model: LoadedModel,
    ) -> Result<Self, WorkerError> {
        let (decoder, weights) =
            TrainWeights::new(model, compute_kind(spec.precision), spec.train_blocks);
        let sizes: Vec<usize> = sets.rows.iter().map(Vec::len).collect();
        let length = spec
            .steps
            .map_or(Length::Epochs(spec.epochs), Length::Steps);
        let mixing = spec.mixing.unwrap_or(match spec.method {
            Method::Uniform => Mixing::Proportional,
            Method::More => Mixing::Equal,
        });
        let order = Order::new(&sizes, mixing, spec.batch as usize, length, spec.seed);
        let optimiser = Optimiser {
            lr: spec.lr,
            schedule: spec.schedule,
            warmup_ratio: spec.warmup_ratio,
            betas: spec.betas,
            eps: spec.eps,
            weight_decay: spec.weight_decay,
            clip: spec.clip,
            total: order.batches().len() as u64,
            taken: 0,
            bad: 0,
            skipped: 0,
        };
        let weighting = Weighting::new(spec, sizes.len(), decoder.config.hidden_size);
        Ok(Self {
            context,
            spec,
            tokenizer,
            sets,
            decoder,
            weights,
            weighting,
            optimiser,
            order,
            history: Vec::new(),
            tokens: 0,
            tokens_here: 0,
            pairs_here: 0,
        })
    }

    fn train(&mut self) -> Result<(), WorkerError> {
        let start = self.resume()?;
        let batches = std::mem::take(&mut self.order).into_batches();
        let total: usize = batches.iter().map(Vec::len).sum();
        let mut done: usize = batches[..start].iter().map(Vec::len).sum();
        for (step, batch) in batches.iter().enumerate().skip(start) {
            self.step(step as u64, batch)?;
            done += batch.len();
            self.context
                .events
                .progress("training", done, total, "rows");
            let finished = step as u64 + 1;
            if finished.is_multiple_of(self.spec.checkpoint_every.max(1)) && done < total {
                self.save(finished)?;
            }
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<usize, WorkerError> {
        let partial = &self.context.job.partial_dir;
        let Some(state) = checkpoint::load(partial, &mut self.weights, &mut self.optimiser)? else {
            return Ok(0);
        };
        self.context
            .events
            .log(Level::Info, format!("going on after step {}", state.step));
        self.weighting.restore(state.momentum);
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
            momentum: self.weighting.momentum().to_vec(),
            history: self.history.clone(),
        };
        checkpoint::save(&self.context.job.partial_dir, &self.weights, &state)
    }

    fn step(&mut self, step: u64, batch: &[RowId]) -> Result<(), WorkerError> {
        let rows: Vec<&RewardRow> = batch
            .iter()
            .map(|id| &self.sets.rows[id.set][id.row])
            .collect();
        let compute = RewardCompute {
            decoder: &self.decoder,
            pooling: self.spec.pooling,
            closed: self.tokenizer.eos().is_some(),
            token_budget: self.context.token_budget(),
            kind: compute_kind(self.spec.precision),
        };
        let outcome = compute
            .gradients(&rows, &mut self.weights, &mut self.weighting)
            .map_err(|e| e.at_step(step + 1))?;
        let applied = self.optimiser.apply(step, &mut self.weights)?;
        self.tokens += outcome.tokens as u64;
        self.tokens_here += outcome.tokens as u64;
        self.pairs_here += rows
            .iter()
            .map(|row| pairs_of(&row.scores) as u64)
            .sum::<u64>();
        let values = self.values(&rows, &outcome, applied);
        self.context.events.scalars(step + 1, &values);
        self.history.push(HistoryRow {
            step: step + 1,
            values,
        });
        Ok(())
    }

    /// The step's scalars.
    fn values(
        &self,
        rows: &[&RewardRow],
        outcome: &StepOutcome,
        applied: Applied,
    ) -> BTreeMap<String, f64> {
        let all: Vec<usize> = (0..rows.len()).collect();
        let mut values = BTreeMap::new();
        let mut put = |name: String, value: f64| {
            values.insert(name, value);
        };
        let totals = Totals::of(outcome, &all);
        put("loss".into(), outcome.weights.loss);
        put("accuracy".into(), totals.accuracy());
        put("margin".into(), totals.margin());
        put("grad_norm".into(), applied.grad_norm);
        put("lr".into(), applied.lr);
        put("tokens".into(), outcome.tokens as f64);
        for (task, name) in self.sets.names.iter().enumerate() {
            let own: Vec<usize> = all
                .iter()
                .copied()
                .filter(|&i| rows[i].task == task)
                .collect();
            let totals = Totals::of(outcome, &own);
            if totals.pairs > 0.0 {
                put(format!("loss/{name}"), totals.loss / totals.pairs);
                put(format!("accuracy/{name}"), totals.accuracy());
            }
            if let Some(weight) = outcome.weights.tasks[task] {
                put(format!("weight/{name}"), weight);
            }
        }
        values
    }

    fn export(&self, text: &RewardText) -> Result<(), WorkerError> {
        let dir = self.context.output(artifact::MODEL);
        std::fs::create_dir_all(&dir).map_err(|e| WorkerError::io("create", &dir, e))?;
        let exporter = Exporter {
            decoder: &self.decoder,
            tokenizer: self.tokenizer,
            precision: self.spec.precision,
        };
        exporter.write(&dir, &self.weights.master, ExportHead::Reward(text))?;
        write_rows(&self.context.output(artifact::HISTORY), &self.history)?;
        write_fed(&self.context.output(artifact::FED), &self.sets.fed)
    }

    fn metrics(&self) -> moreline_protocol::event::Metrics {
        let losses = by_tenths(&self.history, "loss");
        let mean_weight = |name: &String| {
            let key = format!("weight/{name}");
            let found: Vec<f64> = self
                .history
                .iter()
                .filter_map(|row| row.values.get(&key).copied())
                .collect();
            (
                name.clone(),
                found.iter().sum::<f64>() / found.len().max(1) as f64,
            )
        };
        let weights: BTreeMap<String, f64> = self.sets.names.iter().map(mean_weight).collect();
        let computed: usize = self
            .sets
            .rows
            .iter()
            .flatten()
            .map(|row| row.group.tokens())
            .sum();
        let unshared: usize = self
            .sets
            .rows
            .iter()
            .flatten()
            .map(|row| row.group.tokens_unshared())
            .sum();
        metrics(json!({
            "steps": self.history.len(),
            "rows": self.sets.rows.iter().map(Vec::len).sum::<usize>(),
            "pairs": self.sets.rows.iter().flatten().map(|row| pairs_of(&row.scores)).sum::<usize>(),
            "dropped": self.sets.dropped,
            "truncated": self.sets.truncated,
            "skipped_steps": self.optimiser.skipped,
            "final_loss": losses.last(),
            "loss_by_tenths": losses,
            "tokens": self.tokens,
            "tokens_unshared_per_epoch": unshared,
            "tokens_shared_share": 1.0 - computed as f64 / unshared.max(1) as f64,
            "weights": weights,
        }))
    }
}

/// Sums over some rows of a step.
struct Totals {
    loss: f64,
    correct: f64,
    margin: f64,
    pairs: f64,
}

impl Totals {
    fn of(outcome: &StepOutcome, rows: &[usize]) -> Self {
        let sum = |value: &dyn Fn(usize) -> f64| rows.iter().map(|&i| value(i)).sum();
        Self {
            loss: sum(&|i| outcome.rows[i].loss),
            correct: sum(&|i| outcome.rows[i].correct),
            margin: sum(&|i| outcome.rows[i].reward_margin),
            pairs: sum(&|i| outcome.rows[i].pairs as f64),
        }
    }

    fn accuracy(&self) -> f64 {
        self.correct / self.pairs.max(1.0)
    }

    fn margin(&self) -> f64 {
        self.margin / self.pairs.max(1.0)
    }
}
