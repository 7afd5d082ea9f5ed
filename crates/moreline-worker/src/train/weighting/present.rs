//! The tasks that have pairs among some rows.

use super::ScoredRow;

/// A task with pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Present {
    /// Its number.
    pub index: usize,
    /// Its pairs.
    pub pairs: usize,
}

impl Present {
    /// Those of `tasks` tasks with pairs, ascending, from the task and the
    /// number of pairs of each row.
    pub(super) fn of(tasks: usize, rows: impl Iterator<Item = (usize, usize)>) -> Vec<Self> {
        let mut pairs = vec![0; tasks];
        for (task, count) in rows {
            pairs[task] += count;
        }
        let with = |(index, pairs)| (pairs > 0).then_some(Self { index, pairs });
        pairs.into_iter().enumerate().filter_map(with).collect()
    }
}

/// For each task its place among those present, if it is.
fn places(present: &[Present]) -> Vec<Option<usize>> {
    let count = present.last().map_or(0, |task| task.index + 1);
    let mut places = vec![None; count];
    for (place, task) in present.iter().enumerate() {
        places[task.index] = Some(place);
    }
    places
}

/// The mean loss over the pairs of each task present.
pub(super) fn mean_losses(present: &[Present], rows: &[ScoredRow]) -> Vec<f64> {
    let mut sums = vec![0.0; present.len()];
    let places = places(present);
    for row in rows {
        if let Some(&Some(place)) = places.get(row.task) {
            sums[place] += row.loss.loss;
        }
    }
    let mean = |(sum, task): (f64, &Present)| sum / task.pairs as f64;
    sums.into_iter().zip(present).map(mean).collect()
}

/// The gradient `[H]` of each mean loss with respect to the reward head. Rows
/// are added one after the other, as they lie in memory.
pub(super) fn mean_gradients(present: &[Present], rows: &[ScoredRow]) -> Vec<Vec<f64>> {
    let hidden = rows.first().map_or(0, |row| row.head_grad.len());
    let mut sums = vec![vec![0.0; hidden]; present.len()];
    let places = places(present);
    for row in rows {
        if let Some(&Some(place)) = places.get(row.task) {
            for (sum, value) in sums[place].iter_mut().zip(&row.head_grad) {
                *sum += value;
            }
        }
    }
    for (sum, task) in sums.iter_mut().zip(present) {
        let pairs = task.pairs as f64;
        sum.iter_mut().for_each(|value| *value /= pairs);
    }
    sums
}
