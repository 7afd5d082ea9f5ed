//! One optimiser step of reward training, whatever the micro-batches.

use std::time::{Duration, Instant};

use moreline_protocol::spec::Pooling;
use tch::{Kind, Tensor};

use super::lm::{self, LmPlan};
use super::tape::{Keep, Tape};
use super::weighting::{ScoredRow, StepWeights, Weighting};
use super::weights::TrainWeights;
use crate::batch::{Group, Packed, micro};
use crate::error::WorkerError;
use crate::head::{PoolPlan, by_group, rewards, to_vec};
use crate::loss::{Group as Ranked, GroupLoss, Ranking, ranking_loss};
use crate::model::Decoder;

/// A row ready for training: its responses as a token tree, and their scores.
#[derive(Debug, Clone)]
pub struct RewardRow {
    /// Index of its set.
    pub task: usize,
    /// Its responses.
    pub group: Group,
    /// Scores of the responses `[K]`.
    pub scores: Vec<f64>,
    /// Tokens of each response's text that are prompt, after truncation `[K]`;
    /// if empty, what all texts begin with.
    pub prompts: Vec<usize>,
}

/// What stays the same from step to step.
#[derive(Debug)]
pub struct RewardCompute<'a> {
    /// The topology.
    pub decoder: &'a Decoder,
    /// Where rewards are read.
    pub pooling: Pooling,
    /// Whether texts end with EOS.
    pub closed: bool,
    /// Largest number of tokens in a micro-batch.
    pub token_budget: usize,
    /// Dtype of matrix products.
    pub kind: Kind,
    /// Settings of the ranking loss.
    pub ranking: Ranking,
    /// Factor of the language-model loss on the best responses; 0 for none.
    pub lm_loss: f64,
    /// Blocks computed again at a time in the backward pass; all are kept if
    /// absent.
    pub recompute: Option<usize>,
}

/// What a step's forward passes found.
#[derive(Debug)]
pub struct StepOutcome {
    /// Rows in order.
    pub rows: Vec<GroupLoss>,
    /// Rewards of each row's responses.
    pub rewards: Vec<Vec<f64>>,
    /// The weights used.
    pub weights: StepWeights,
    /// Tokens computed.
    pub tokens: usize,
    /// Mean negative log-probability of the best responses' tokens, in nats;
    /// absent unless asked for.
    pub lm_loss: Option<f64>,
    /// What its parts took.
    pub took: StepTimes,
}

/// Time of a step's parts. On a GPU a part counts until the next reading of a
/// result, which is what waits for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepTimes {
    /// Forward passes, up to the rewards.
    pub forward: Duration,
    /// The head's gradients and the weights of the tasks.
    pub weighting: Duration,
}

/// What the backward passes of a step share.
#[derive(Clone, Copy)]
struct Language {
    /// Predictions in the global batch.
    count: usize,
    /// Sum of their losses so far.
    loss: f64,
}

/// A micro-batch between its forward and its backward pass.
struct Pending {
    packed: Packed,
    tape: Tape,
    pool: PoolPlan,
    lm: Option<LmPlan>,
    norm_leaf: Tensor,
    /// Pooled embeddings `[R, H]` with their graph.
    embeddings: Tensor,
    /// Its rows within the global batch.
    rows: std::ops::Range<usize>,
}

impl RewardCompute<'_> {
    /// Forward and backward of a global batch; gradients are left in `weights`.
    ///
    /// # Errors
    /// Rewards that are not finite, and what libtorch throws.
    pub fn gradients(
        &self,
        batch: &[&RewardRow],
        weights: &mut TrainWeights,
        weighting: &mut Weighting,
    ) -> Result<StepOutcome, WorkerError> {
        let sizes: Vec<usize> = batch.iter().map(|row| row.group.tokens()).collect();
        let tokens = sizes.iter().sum();
        let whole = weighting.needs_head_grads();
        let keep = match self.recompute {
            Some(every) => Keep::Inputs(every),
            None if whole && tokens > self.token_budget => Keep::Inputs(1),
            None => Keep::Graphs,
        };
        let mut language = Language {
            count: batch.iter().map(|row| lm::count(row)).sum(),
            loss: 0.0,
        };
        let counts = batch
            .iter()
            .map(|row| (row.task, self.ranking.pairs(&row.scores)));
        let known = weighting.beforehand(&counts.collect::<Vec<_>>());
        let (mut scored, mut all_rewards, mut pending) = (Vec::new(), Vec::new(), Vec::new());
        let mut took = StepTimes::default();
        for range in micro::cut(&sizes, self.token_budget) {
            let clock = Instant::now();
            let found = self.forward(&batch[range.clone()], weights, keep, range.start);
            let rewards = self.rewards(batch, &found, weights);
            took.forward += clock.elapsed();
            let mut losses = self.losses(batch, &found, &rewards)?;
            if whole {
                let clock = Instant::now();
                self.head_gradients(&found, &mut losses);
                took.weighting += clock.elapsed();
            }
            scored.extend(losses);
            all_rewards.extend(rewards);
            if let Some(factors) = &known {
                let factored = (&scored[range.clone()], &factors[range]);
                self.backward(found, factored, weights, &mut language)?;
            } else {
                pending.push(found);
            }
        }
        let clock = Instant::now();
        let solved = weighting.solve(&scored)?;
        took.weighting += clock.elapsed();
        for micro in pending {
            let rows = micro.rows.clone();
            let factored = (&scored[rows.clone()], &solved.rows[rows]);
            self.backward(micro, factored, weights, &mut language)?;
        }
        Ok(StepOutcome {
            rows: scored.into_iter().map(|row| row.loss).collect(),
            rewards: all_rewards,
            weights: solved,
            tokens,
            lm_loss: (self.lm_loss > 0.0).then(|| language.loss / language.count.max(1) as f64),
            took,
        })
    }

    fn forward(
        &self,
        rows: &[&RewardRow],
        weights: &TrainWeights,
        keep: Keep,
        start: usize,
    ) -> Pending {
        let decoder = self.decoder;
        let device = weights.compute[0].device();
        let groups = rows.iter().map(|row| &row.group);
        let packed = Packed::new(groups, &decoder.config, self.kind, device);
        let lengths: Vec<&[usize]> = rows
            .iter()
            .map(|row| row.group.lengths.as_slice())
            .collect();
        let pool = PoolPlan::new(&packed, &lengths, self.pooling, self.closed);
        let tape = Tape::forward(decoder, weights, &packed, keep);
        let lm = (self.lm_loss > 0.0)
            .then(|| LmPlan::new(&packed, rows))
            .flatten();
        let norm_leaf = weights.compute[decoder.norm_index()].shallow_clone();
        let embeddings = pool.embeddings(decoder, &norm_leaf, &tape.last);
        Pending {
            packed,
            tape,
            pool,
            lm,
            norm_leaf,
            embeddings,
            rows: start..start + rows.len(),
        }
    }

    /// Rewards of each of a micro-batch's rows' responses.
    fn rewards(
        &self,
        batch: &[&RewardRow],
        micro: &Pending,
        weights: &TrainWeights,
    ) -> Vec<Vec<f64>> {
        let score = weights.compute[self.decoder.head_index()].detach();
        let flat = to_vec(&rewards(&micro.embeddings.detach(), &score));
        let rows = batch[micro.rows.clone()].iter();
        by_group(&flat, rows.map(|row| row.scores.len()))
    }

    /// Losses of a micro-batch's rows, in closed form from the rewards, yet
    /// without the head's gradients.
    fn losses(
        &self,
        batch: &[&RewardRow],
        micro: &Pending,
        rewards: &[Vec<f64>],
    ) -> Result<Vec<ScoredRow>, WorkerError> {
        let rows = batch[micro.rows.clone()].iter().zip(rewards);
        rows.map(|(row, rewards)| {
            let group = Ranked {
                rewards,
                scores: &row.scores,
            };
            let loss = ranking_loss(group, self.ranking).map_err(|e| WorkerError::Diverged {
                message: e.to_string(),
            })?;
            Ok(ScoredRow {
                task: row.task,
                loss,
                head_grad: Vec::new(),
            })
        })
        .collect()
    }

    /// Adds to a micro-batch's rows the gradients of their losses with respect
    /// to the head.
    fn head_gradients(&self, micro: &Pending, rows: &mut [ScoredRow]) {
        let embeddings = to_vec(&micro.embeddings.detach());
        let hidden = self.decoder.config.hidden_size;
        let mut rest = embeddings.as_slice();
        for row in rows {
            let gradient = &row.loss.gradient;
            let (own, others) = rest.split_at(gradient.len() * hidden);
            row.head_grad = head_gradient(gradient, own, hidden);
            rest = others;
        }
    }

    /// Adds a micro-batch's gradients: the factors scale its rows' summed losses.
    fn backward(
        &self,
        micro: Pending,
        (rows, factors): (&[ScoredRow], &[f64]),
        weights: &mut TrainWeights,
        language: &mut Language,
    ) -> Result<(), WorkerError> {
        let Pending {
            packed,
            tape,
            norm_leaf,
            embeddings,
            lm,
            pool: _pool,
            ..
        } = micro;
        let decoder = self.decoder;
        let grad_embeddings = self.head_backward(rows, factors, &embeddings, weights);
        let mut ends = vec![(embeddings, grad_embeddings)];
        if let Some(plan) = lm {
            let scale = self.lm_loss / language.count as f64;
            let found = plan.loss(decoder, (&tape.last, &norm_leaf), weights, scale);
            language.loss += found.loss;
            ends.push((found.normed, found.grad));
        }
        tape.backward_from(decoder, weights, &packed, ends, &norm_leaf)
    }

    /// Adds the reward head's gradient and gives that of the pooled embeddings:
    /// reward = e . w, so d/de = g w and d/dw = sum of g e.
    fn head_backward(
        &self,
        rows: &[ScoredRow],
        factors: &[f64],
        embeddings: &Tensor,
        weights: &mut TrainWeights,
    ) -> Tensor {
        let slot = self.decoder.head_index();
        let grads: Vec<f32> = rows
            .iter()
            .zip(factors)
            .flat_map(|(row, factor)| row.loss.gradient.iter().map(move |g| (g * factor) as f32))
            .collect();
        let grads_r1 = Tensor::from_slice(&grads)
            .to_device(embeddings.device())
            .unsqueeze(1);
        let score = weights.compute[slot].detach();
        let products = &grads_r1 * embeddings.detach();
        let head_grad = products.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
        weights.accumulate(slot, &head_grad);
        grads_r1 * score.unsqueeze(0)
    }
}

/// The gradient `[H]` of a row's loss with respect to the head, from its
/// embeddings `[R, H]`: the sum over responses of (d loss / d reward) e.
pub fn head_gradient(gradient: &[f64], embeddings: &[f64], hidden: usize) -> Vec<f64> {
    let mut sum = vec![0.0; hidden];
    for (slope, embedding) in gradient.iter().zip(embeddings.chunks_exact(hidden)) {
        for (total, value) in sum.iter_mut().zip(embedding) {
            *total += slope * value;
        }
    }
    sum
}
