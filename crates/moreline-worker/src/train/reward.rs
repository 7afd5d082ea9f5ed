//! `train-reward`.

use std::collections::BTreeMap;
use std::time::Instant;

use moreline_formats::ModelConfig;
use moreline_protocol::event::Metrics;
use moreline_protocol::spec::{Method, TrainReward};
use moreline_stats::describe;
use moreline_text::Tokenizer;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tch::{Kind, Tensor};

use super::held_out::HeldOutPairs;
use super::history::by_tenths;
use super::optimiser::Optimiser;
use super::order::{Order, RowId};
use super::reward_rows::{Preparing, RewardSets};
use super::sampling;
use super::session::{Core, Gradients, Session, Task, Written};
use super::step::{RewardCompute, RewardRow, StepOutcome};
use super::trained::Trained;
use super::watch::Figures;
use super::weighting::{Memory, Weighting};
use super::weights::TrainWeights;
use crate::error::WorkerError;
use crate::loss::Ranking;
use crate::model::{Decoder, ExportHead, LoadedModel, compute_kind};
use crate::stage::context::{Context, Outcome, metrics};
use crate::text::RewardText;

/// Standard deviation of a new reward head.
const HEAD_SD: f64 = 0.02;

/// Trains a reward model: `model/`, `history.jsonl`, `fed.jsonl`.
///
/// # Errors
/// Unreadable inputs, sets without a decided pair, training that diverges.
pub fn train_reward(context: &Context<'_>, spec: &TrainReward) -> Result<Outcome, WorkerError> {
    let started = Instant::now();
    let text = text(spec);
    let model_path = &context.input("model")?.path;
    let tokenizer = Tokenizer::load(model_path)?;
    tokenizer.check_fits(ModelConfig::load(model_path)?.vocab_size)?;
    let sets = sets(context, spec, &tokenizer, &text)?;
    let kind = compute_kind(spec.precision);
    // The masters are fp32 whatever the compute precision.
    let head = |config: &ModelConfig| new_head(config.hidden_size, spec.seed);
    let model = LoadedModel::with_new_reward_head(model_path, Kind::Float, context.device, &head)?;
    check_length(&model.decoder.config, spec.max_length)?;
    let held_out = HeldOutPairs::read(context, &tokenizer, &text, spec.pairs)?;
    let task = RewardTask {
        spec,
        closed: tokenizer.eos().is_some(),
        held_out,
        text,
        weighting: Weighting::new(spec, sets.rows.len(), model.decoder.config.hidden_size),
        sets,
    };
    let (decoder, mut weights) = TrainWeights::new(model, kind, &Trained::from(spec))?;
    if spec.lm_loss > 0.0 {
        let head = LoadedModel::lm_head(model_path, &decoder.config, context.device)?;
        weights.add_lm_head(&decoder, head);
    }
    let core = Core {
        context,
        tokenizer: &tokenizer,
        decoder,
        weights,
        precision: spec.precision,
        written: Written::from(spec),
    };
    let order = task.order()?;
    let optimiser = Optimiser::from((spec, order.batches().len() as u64));
    let mut session = Session::new(core, task, optimiser, order, spec.into());
    let setup = started.elapsed().as_secs_f64();
    session.train()?;
    session.export(&session.task.sets.fed)?;
    Ok(Outcome {
        metrics: found(&session),
        timings: session.timings(setup),
    })
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

/// How the texts of a training are made.
fn text(spec: &TrainReward) -> RewardText {
    RewardText {
        pooling: spec.pooling,
        template: spec.template,
        max_length: spec.max_length,
        truncation: spec.truncation,
    }
}

/// The sets, ready for training.
///
/// # Errors
/// Unreadable rows, sets without a decided pair, `single` on several sets.
fn sets(
    context: &Context<'_>,
    spec: &TrainReward,
    tokenizer: &Tokenizer,
    text: &RewardText,
) -> Result<RewardSets, WorkerError> {
    let names = spec.data.names();
    if spec.method == Method::Single && names.len() != 1 {
        return Err(WorkerError::input(
            format!(
                "train with method `single` on {} sets: `{}`",
                names.len(),
                names.join("`, `")
            ),
            "name one set, or use method = \"uniform\"",
        ));
    }
    let preparing = Preparing {
        tokenizer,
        text,
        pairs: spec.pairs,
        scale: spec.score_scale,
        ranking: ranking(spec),
    };
    preparing.read_sets(context)
}

/// The settings of the ranking loss.
fn ranking(spec: &TrainReward) -> Ranking {
    Ranking {
        margin: spec.margin,
        centring: spec.centring,
        ties: spec.ties,
        noise_margin: spec.noise_margin,
    }
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

/// What reward training adds to the loop.
struct RewardTask<'a> {
    spec: &'a TrainReward,
    text: RewardText,
    /// Whether texts end with EOS.
    closed: bool,
    sets: RewardSets,
    held_out: HeldOutPairs,
    weighting: Weighting,
}

impl RewardTask<'_> {
    fn order(&self) -> Result<Order, WorkerError> {
        let sizes: Vec<usize> = self.sets.rows.iter().map(Vec::len).collect();
        sampling::order(self.spec, self.spec.data.names(), &sizes)
    }

    fn compute<'c>(&self, decoder: &'c Decoder, token_budget: usize) -> RewardCompute<'c> {
        RewardCompute {
            decoder,
            pooling: self.spec.pooling,
            closed: self.closed,
            token_budget,
            kind: compute_kind(self.spec.precision),
            ranking: ranking(self.spec),
            lm_loss: self.spec.lm_loss,
            recompute: self.spec.recompute_every.map(|every| every as usize),
        }
    }

    /// The step's figures.
    fn values(&self, rows: &[&RewardRow], outcome: &StepOutcome) -> BTreeMap<String, f64> {
        let all: Vec<usize> = (0..rows.len()).collect();
        let mut values = BTreeMap::new();
        let mut put = |name: String, value: f64| {
            values.insert(name, value);
        };
        let totals = Totals::of(outcome, &all);
        put("loss".into(), outcome.weights.loss);
        // A batch of nothing but ties has neither.
        if totals.decided > 0.0 || totals.pairs == 0.0 {
            put("accuracy".into(), totals.accuracy());
            put("margin".into(), totals.margin());
        }
        if let Some(loss) = outcome.lm_loss {
            put("lm_loss".into(), loss);
        }
        let rewards = outcome.rewards.concat();
        let mean = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
        put("reward_mean".into(), mean);
        // A single reward has no spread.
        let spread = describe::standard_deviation(&rewards).unwrap_or(0.0);
        put("reward_std".into(), spread);
        let unshared: usize = rows.iter().map(|row| row.group.tokens_unshared()).sum();
        let saved = 1.0 - outcome.tokens as f64 / unshared.max(1) as f64;
        put("tokens_saved".into(), saved);
        for (task, name) in self.sets.names.iter().enumerate() {
            let own: Vec<usize> = all
                .iter()
                .copied()
                .filter(|&i| rows[i].task == task)
                .collect();
            let totals = Totals::of(outcome, &own);
            if totals.pairs > 0.0 {
                put(format!("loss/{name}"), totals.loss / totals.pairs);
            }
            if totals.decided > 0.0 {
                put(format!("accuracy/{name}"), totals.accuracy());
            }
            if let Some(weight) = outcome.weights.tasks[task] {
                put(format!("weight/{name}"), weight);
            }
        }
        values
    }
}

impl Task for RewardTask<'_> {
    const PHASE: (&'static str, &'static str) = ("training", "rows");

    fn gradients(
        &mut self,
        core: &mut Core<'_>,
        batch: &[RowId],
    ) -> Result<Gradients, WorkerError> {
        let rows: Vec<&RewardRow> = batch
            .iter()
            .map(|id| &self.sets.rows[id.set][id.row])
            .collect();
        let compute = self.compute(&core.decoder, core.context.token_budget());
        let outcome = compute.gradients(&rows, &mut core.weights, &mut self.weighting)?;
        let pairs = outcome.rows.iter().map(|row| row.pairs as u64).sum();
        Ok(Gradients {
            values: self.values(&rows, &outcome),
            tokens: outcome.tokens as u64,
            pairs,
            took: vec![
                ("forward_s", outcome.took.forward),
                ("weighting_s", outcome.took.weighting),
            ],
        })
    }

    fn evaluate(&self, core: &Core<'_>) -> Result<Figures, WorkerError> {
        let compute = self.compute(&core.decoder, core.context.token_budget());
        self.held_out.evaluate(core, &compute)
    }

    fn memory(&self) -> Memory {
        self.weighting.memory().clone()
    }

    fn restore(&mut self, memory: Memory) {
        self.weighting.restore(memory);
    }

    fn head(&self) -> ExportHead<'_> {
        ExportHead::Reward(&self.text)
    }
}

/// The stage's metrics.
fn found(session: &Session<'_, RewardTask<'_>>) -> Metrics {
    let (sets, history) = (&session.task.sets, &session.history);
    let losses = by_tenths(history, "loss");
    let ranking = ranking(session.task.spec);
    let mean_weight = |name: &String| {
        let key = format!("weight/{name}");
        let found: Vec<f64> = history
            .iter()
            .filter_map(|row| row.values.get(&key).copied())
            .collect();
        let mean = found.iter().sum::<f64>() / found.len().max(1) as f64;
        (name.clone(), mean)
    };
    let weights: BTreeMap<String, f64> = sets.names.iter().map(mean_weight).collect();
    let (drawn, passes) = drawn(session);
    let rows = || sets.rows.iter().flatten();
    let computed: usize = rows().map(|row| row.group.tokens()).sum();
    let unshared: usize = rows().map(|row| row.group.tokens_unshared()).sum();
    let mut found = metrics(json!({
        "steps": session.steps_taken(),
        "rows": rows().count(),
        "pairs": rows().map(|row| ranking.pairs(&row.scores)).sum::<usize>(),
        "dropped": sets.dropped,
        "truncated": sets.truncated,
        "responses_left_out": sets.responses_left_out,
        "skipped_steps": session.optimiser.skipped,
        "final_loss": losses.last(),
        "loss_by_tenths": losses,
        "tokens": session.tokens,
        "tokens_unshared_per_epoch": unshared,
        "tokens_shared_share": 1.0 - computed as f64 / unshared.max(1) as f64,
        "weights": weights,
        "drawn": drawn,
        "passes": passes,
    }));
    found.extend(session.evaluation());
    found
}

/// Rows drawn from each set, and how often that passes it.
fn drawn(
    session: &Session<'_, RewardTask<'_>>,
) -> (BTreeMap<String, usize>, BTreeMap<String, f64>) {
    let sets = &session.task.sets;
    let drawn = session.drawn(sets.names.len());
    let passes = drawn.iter().zip(&sets.rows);
    let passes = passes.map(|(&drawn, rows)| drawn as f64 / rows.len().max(1) as f64);
    let names = || sets.names.iter().cloned();
    (
        names().zip(drawn.iter().copied()).collect(),
        names().zip(passes).collect(),
    )
}

/// Sums over some rows of a step.
struct Totals {
    loss: f64,
    correct: f64,
    margin: f64,
    pairs: f64,
    /// Pairs that are not tied.
    decided: f64,
}

impl Totals {
    fn of(outcome: &StepOutcome, rows: &[usize]) -> Self {
        let sum = |value: &dyn Fn(usize) -> f64| rows.iter().map(|&i| value(i)).sum();
        Self {
            loss: sum(&|i| outcome.rows[i].loss),
            correct: sum(&|i| outcome.rows[i].correct),
            margin: sum(&|i| outcome.rows[i].reward_margin),
            pairs: sum(&|i| outcome.rows[i].pairs as f64),
            decided: sum(&|i| (outcome.rows[i].pairs - outcome.rows[i].ties) as f64),
        }
    }

    fn accuracy(&self) -> f64 {
        self.correct / self.decided.max(1.0)
    }

    fn margin(&self) -> f64 {
        self.margin / self.decided.max(1.0)
    }
}
