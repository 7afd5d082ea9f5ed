//! How much each row's pairs count in a step's gradient.
//!
//! A step minimises the mean over weight groups g of sum_k lambda_gk L_gk, L_gk
//! being the mean ranking loss of the pairs of task k in group g; or, with
//! `weighted_loss = "pairs"`, K sum_k lambda_gk S_gk / N_g of the tasks' summed
//! losses S, K tasks and N pairs of the group. `uniform` takes every pair alike
//! instead: the mean over all pairs of the global batch.

mod memory;
mod present;

use moreline_protocol::spec::{
    FirstMomentum, Method, Normalize, Solver, TrainReward, WeightedLoss,
};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use memory::{Course, Memory};
use present::{Present, mean_gradients};

use crate::error::WorkerError;
use crate::loss::GroupLoss;
use crate::objective::{self, FrankWolfe, Gram, ObjectiveError, Weights};

/// Where the streams of random numbers of PCGrad's orders begin: one for each
/// weight group of each step.
const ORDERS: u64 = 1 << 61;

/// The stream of the first momentum.
const FIRST_MOMENTUM: u64 = u64::MAX - 1;

/// One row of a global batch after its forward pass.
#[derive(Debug)]
pub struct ScoredRow {
    /// Which set it came from.
    pub task: usize,
    /// Loss, pairs and gradient with respect to its rewards.
    pub loss: GroupLoss,
    /// Gradient of `loss` with respect to the reward head `[H]`; empty where
    /// the method needs none.
    pub head_grad: Vec<f64>,
}

/// Weights of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepWeights {
    /// For each row the factor of its summed pair losses.
    pub rows: Vec<f64>,
    /// Weight of each task, the mean over weight groups; absent for tasks
    /// without pairs in the batch.
    pub tasks: Vec<Option<f64>>,
    /// What the step minimises.
    pub loss: f64,
}

/// Solves the weights of every step.
#[derive(Debug)]
pub struct Weighting {
    method: Method,
    by_task: bool,
    alpha: f64,
    normalize: objective::Normalize,
    solver: Solver,
    weighted: WeightedLoss,
    window: u64,
    temperature: f64,
    seed: u64,
    groups: usize,
    tasks: usize,
    memory: Memory,
}

impl Weighting {
    /// For `tasks` sets and a head of `hidden` inputs.
    pub fn new(spec: &TrainReward, tasks: usize, hidden: usize) -> Self {
        let groups = if spec.method.needs_head_grads() {
            spec.weight_groups.max(1) as usize
        } else {
            1
        };
        let mut memory = Memory::default();
        if spec.method == Method::More {
            let first = match spec.first_momentum {
                FirstMomentum::Zero => vec![0.0; hidden],
                FirstMomentum::RandomHead => random_head(hidden, spec.seed),
            };
            memory.momentum = vec![first; groups * tasks];
        }
        if spec.method == Method::Dwa {
            memory.courses = vec![Course::default(); tasks];
        }
        Self {
            method: spec.method,
            by_task: spec.group_by_task,
            alpha: spec.alpha,
            normalize: match spec.normalize {
                Normalize::None => objective::Normalize::None,
                Normalize::L2 => objective::Normalize::L2,
                Normalize::Loss => objective::Normalize::Loss,
                Normalize::LossPlus => objective::Normalize::LossPlus,
            },
            solver: spec.solver,
            weighted: spec.weighted_loss,
            window: u64::from(spec.dwa_window.max(1)),
            temperature: spec.dwa_temperature,
            seed: spec.seed,
            groups,
            tasks,
            memory,
        }
    }

    /// Whether rows need their head gradients, and so a whole forward pass
    /// before any backward one.
    pub fn needs_head_grads(&self) -> bool {
        self.method.needs_head_grads()
    }

    /// What is carried from step to step, for a checkpoint.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Puts it back.
    pub fn restore(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// The factors of rows with these tasks and numbers of pairs, where they
    /// are known before the losses are.
    pub fn beforehand(&self, rows: &[(usize, usize)]) -> Option<Vec<f64>> {
        if self.needs_head_grads() {
            return None;
        }
        let pairs: usize = rows.iter().map(|row| row.1).sum();
        if self.alike() {
            return Some(vec![1.0 / pairs.max(1) as f64; rows.len()]);
        }
        let present = Present::of(self.tasks, rows.iter().copied());
        let lambda = self.known_lambda(&present);
        let mut factors = vec![0.0; self.tasks];
        for (task, weight) in present.iter().zip(lambda) {
            factors[task.index] = self.share(weight, task, &present) / task.pairs as f64;
        }
        Some(rows.iter().map(|row| factors[row.0]).collect())
    }

    /// The weights of a global batch, rows in order.
    ///
    /// # Errors
    /// Losses or gradients that are not finite.
    pub fn solve(&mut self, rows: &[ScoredRow]) -> Result<StepWeights, WorkerError> {
        let found = if self.alike() {
            self.of_pairs(rows)
        } else {
            self.of_tasks(rows)?
        };
        if self.method == Method::Dwa {
            self.observe(rows);
        }
        self.memory.solved += 1;
        Ok(found)
    }

    /// Whether all pairs count the same.
    fn alike(&self) -> bool {
        match self.method {
            Method::Uniform => !self.by_task,
            Method::Single => true,
            Method::More | Method::Pcgrad | Method::Dwa => false,
        }
    }

    fn of_pairs(&self, rows: &[ScoredRow]) -> StepWeights {
        let pairs: usize = rows.iter().map(|row| row.loss.pairs).sum();
        let factor = 1.0 / pairs.max(1) as f64;
        let share = |task| {
            let own: usize = rows
                .iter()
                .filter(|r| r.task == task)
                .map(|r| r.loss.pairs)
                .sum();
            (own > 0).then_some(own as f64 * factor)
        };
        StepWeights {
            rows: vec![factor; rows.len()],
            tasks: (0..self.tasks).map(share).collect(),
            loss: rows.iter().map(|row| row.loss.loss).sum::<f64>() * factor,
        }
    }

    fn of_tasks(&mut self, rows: &[ScoredRow]) -> Result<StepWeights, WorkerError> {
        let size = rows.len().div_ceil(self.groups).max(1);
        let parts = rows.chunks(size).count().max(1) as f64;
        let mut weights = StepWeights {
            rows: Vec::with_capacity(rows.len()),
            tasks: vec![None; self.tasks],
            loss: 0.0,
        };
        for (group, part) in rows.chunks(size).enumerate() {
            let present = Present::of(self.tasks, part.iter().map(|r| (r.task, r.loss.pairs)));
            let losses = present::mean_losses(&present, part);
            let lambda = self.lambda(group, &present, &losses, part)?;
            let mut factors = vec![0.0; self.tasks];
            for ((task, weight), loss) in present.iter().zip(lambda).zip(losses) {
                let share = self.share(weight, task, &present);
                *weights.tasks[task.index].get_or_insert(0.0) += weight / parts;
                weights.loss += share * loss / parts;
                factors[task.index] = share / task.pairs as f64 / parts;
            }
            weights
                .rows
                .extend(part.iter().map(|row| factors[row.task]));
        }
        Ok(weights)
    }

    /// What a task's mean loss is multiplied by.
    fn share(&self, weight: f64, task: &Present, present: &[Present]) -> f64 {
        match self.weighted {
            WeightedLoss::Means => weight,
            WeightedLoss::Pairs => {
                let pairs: usize = present.iter().map(|task| task.pairs).sum();
                weight * (present.len() * task.pairs) as f64 / pairs as f64
            }
        }
    }

    /// Weights of the tasks present that do not depend on the batch's losses.
    fn known_lambda(&self, present: &[Present]) -> Vec<f64> {
        if self.method == Method::Dwa {
            let course = |task: &Present| self.memory.courses[task.index].descent();
            let courses: Vec<_> = present.iter().map(course).collect();
            return objective::dwa(&courses, self.temperature);
        }
        vec![1.0 / present.len().max(1) as f64; present.len()]
    }

    /// Weights of the tasks present in a weight group.
    fn lambda(
        &mut self,
        group: usize,
        present: &[Present],
        losses: &[f64],
        part: &[ScoredRow],
    ) -> Result<Vec<f64>, WorkerError> {
        if present.is_empty() {
            return Ok(Vec::new());
        }
        let solved = match self.method {
            Method::More => {
                self.update(group, present, part);
                self.min_norm(group, present, losses)
            }
            Method::Pcgrad => objective::gram(&mean_gradients(present, part)).map(|gram| {
                let orders = self.orders(group, gram.size());
                objective::pcgrad(&gram, &orders).lambda
            }),
            Method::Uniform | Method::Single | Method::Dwa => Ok(self.known_lambda(present)),
        };
        solved.map_err(|error| WorkerError::Diverged {
            message: error.to_string(),
        })
    }

    /// Moves the running gradients of the tasks present.
    fn update(&mut self, group: usize, present: &[Present], part: &[ScoredRow]) {
        for (task, gradient) in present.iter().zip(mean_gradients(present, part)) {
            let momentum = &mut self.memory.momentum[group * self.tasks + task.index];
            for (value, gradient) in momentum.iter_mut().zip(gradient) {
                *value = (1.0 - self.alpha) * *value + self.alpha * gradient;
            }
        }
    }

    fn min_norm(
        &self,
        group: usize,
        present: &[Present],
        losses: &[f64],
    ) -> Result<Vec<f64>, ObjectiveError> {
        let running = |task: &Present| &self.memory.momentum[group * self.tasks + task.index];
        let grads: Vec<&Vec<f64>> = present.iter().map(running).collect();
        let gram = objective::gram(&grads)?;
        let gram = objective::normalized(&gram, losses, self.normalize)?;
        Ok(self.minimise(&gram).lambda)
    }

    fn minimise(&self, gram: &Gram) -> Weights {
        match self.solver {
            Solver::Exact => objective::min_norm_exact(gram),
            Solver::FrankWolfe => objective::frank_wolfe(gram, FrankWolfe::default()),
        }
    }

    /// For each task present the others in random order, from the seed, the
    /// number of the step and the weight group alone.
    fn orders(&self, group: usize, size: usize) -> Vec<Vec<usize>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(ORDERS + self.memory.solved * self.groups as u64 + group as u64);
        let mut order = |task| {
            let mut others: Vec<usize> = (0..size).filter(|&other| other != task).collect();
            others.shuffle(&mut rng);
            others
        };
        (0..size).map(&mut order).collect()
    }

    /// Takes note of the losses, for the weights to come.
    fn observe(&mut self, rows: &[ScoredRow]) {
        let present = Present::of(self.tasks, rows.iter().map(|r| (r.task, r.loss.pairs)));
        let losses = present::mean_losses(&present, rows);
        for (task, loss) in present.iter().zip(losses) {
            self.memory.courses[task.index].add(loss);
        }
        if (self.memory.solved + 1).is_multiple_of(self.window) {
            self.memory.courses.iter_mut().for_each(Course::close);
        }
    }
}

/// Weights `[H]` of a linear layer as PyTorch makes them: uniform within
/// 1 / sqrt(H) on either side of zero.
fn random_head(hidden: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(FIRST_MOMENTUM);
    let bound = 1.0 / (hidden.max(1) as f64).sqrt();
    (0..hidden)
        .map(|_| bound * (2.0 * rng.random::<f64>() - 1.0))
        .collect()
}

#[cfg(test)]
mod tests;
