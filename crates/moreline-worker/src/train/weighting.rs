//! How much each row's pairs count in a step's gradient.
//!
//! A step minimises the mean over weight groups g of sum_k lambda_gk L_gk, L_gk
//! being the mean ranking loss of the pairs of task k in group g. `uniform`
//! takes every pair alike instead: the mean over all pairs of the global batch.

use moreline_protocol::spec::{Method, Normalize, Solver, TrainReward};

use crate::error::WorkerError;
use crate::loss::GroupLoss;
use crate::objective::{self, FrankWolfe, Gram, Weights};

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

/// Solves the weights of every step, with MORE's running head gradients.
#[derive(Debug)]
pub struct Weighting {
    method: Method,
    alpha: f64,
    normalize: objective::Normalize,
    solver: Solver,
    groups: usize,
    tasks: usize,
    /// Running head gradient of each (weight group, task), zero at first.
    momentum: Vec<Vec<f64>>,
}

impl Weighting {
    /// For `tasks` sets and a head of `hidden` inputs.
    pub fn new(spec: &TrainReward, tasks: usize, hidden: usize) -> Self {
        let groups = match spec.method {
            Method::Uniform => 1,
            Method::More => spec.weight_groups.max(1) as usize,
        };
        let kept = if spec.method == Method::More {
            groups * tasks
        } else {
            0
        };
        Self {
            method: spec.method,
            alpha: spec.alpha,
            normalize: match spec.normalize {
                Normalize::None => objective::Normalize::None,
                Normalize::L2 => objective::Normalize::L2,
                Normalize::Loss => objective::Normalize::Loss,
                Normalize::LossPlus => objective::Normalize::LossPlus,
            },
            solver: spec.solver,
            groups,
            tasks,
            momentum: vec![vec![0.0; hidden]; kept],
        }
    }

    /// Whether rows need their head gradients, and so a whole forward pass
    /// before any backward one.
    pub fn needs_head_grads(&self) -> bool {
        self.method == Method::More
    }

    /// The running gradients, for a checkpoint.
    pub fn momentum(&self) -> &[Vec<f64>] {
        &self.momentum
    }

    /// Puts running gradients back.
    pub fn restore(&mut self, momentum: Vec<Vec<f64>>) {
        self.momentum = momentum;
    }

    /// The weights of a global batch, rows in order.
    ///
    /// # Errors
    /// Losses or gradients that are not finite.
    pub fn solve(&mut self, rows: &[ScoredRow]) -> Result<StepWeights, WorkerError> {
        match self.method {
            Method::Uniform => Ok(self.uniform(rows)),
            Method::More => self.more(rows),
        }
    }

    fn uniform(&self, rows: &[ScoredRow]) -> StepWeights {
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

    fn more(&mut self, rows: &[ScoredRow]) -> Result<StepWeights, WorkerError> {
        let size = rows.len().div_ceil(self.groups).max(1);
        let parts = rows.chunks(size).count().max(1) as f64;
        let mut weights = StepWeights {
            rows: vec![0.0; rows.len()],
            tasks: vec![None; self.tasks],
            loss: 0.0,
        };
        for (group, part) in rows.chunks(size).enumerate() {
            let present = self.update(group, part);
            let lambda = self.lambda(group, &present)?;
            for (task, weight) in present.iter().zip(&lambda) {
                *weights.tasks[task.index].get_or_insert(0.0) += weight / parts;
                weights.loss += weight * task.loss / parts;
                for (offset, row) in part.iter().enumerate() {
                    if row.task == task.index {
                        weights.rows[group * size + offset] = weight / task.pairs as f64 / parts;
                    }
                }
            }
        }
        Ok(weights)
    }

    /// Moves the running gradients of the tasks that have pairs in `part`.
    fn update(&mut self, group: usize, part: &[ScoredRow]) -> Vec<PresentTask> {
        let mut present = Vec::new();
        for index in 0..self.tasks {
            let own = || part.iter().filter(move |row| row.task == index);
            let pairs: usize = own().map(|row| row.loss.pairs).sum();
            if pairs == 0 {
                continue;
            }
            let loss = own().map(|row| row.loss.loss).sum::<f64>() / pairs as f64;
            let momentum = &mut self.momentum[group * self.tasks + index];
            for (i, value) in momentum.iter_mut().enumerate() {
                let gradient = own().map(|row| row.head_grad[i]).sum::<f64>() / pairs as f64;
                *value = (1.0 - self.alpha) * *value + self.alpha * gradient;
            }
            present.push(PresentTask { index, pairs, loss });
        }
        present
    }

    fn lambda(&self, group: usize, present: &[PresentTask]) -> Result<Vec<f64>, WorkerError> {
        if present.is_empty() {
            return Ok(Vec::new());
        }
        let grads: Vec<Vec<f64>> = present
            .iter()
            .map(|task| self.momentum[group * self.tasks + task.index].clone())
            .collect();
        let losses: Vec<f64> = present.iter().map(|task| task.loss).collect();
        let solved = objective::gram(&grads)
            .and_then(|gram| objective::normalized(&gram, &losses, self.normalize))
            .map(|gram| self.minimise(&gram));
        match solved {
            Ok(weights) => Ok(weights.lambda),
            Err(error) => Err(WorkerError::Diverged {
                message: error.to_string(),
            }),
        }
    }

    fn minimise(&self, gram: &Gram) -> Weights {
        match self.solver {
            Solver::Exact => objective::min_norm_exact(gram),
            Solver::FrankWolfe => objective::frank_wolfe(gram, FrankWolfe::default()),
        }
    }
}

/// A task with pairs in a weight group.
#[derive(Debug)]
struct PresentTask {
    index: usize,
    pairs: usize,
    /// Mean over its pairs.
    loss: f64,
}
