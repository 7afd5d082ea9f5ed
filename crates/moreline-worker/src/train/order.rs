//! Which rows each global batch takes, from the seed alone.

use moreline_protocol::spec::Mixing;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A row of one of several sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowId {
    /// The set.
    pub set: usize,
    /// Row within it.
    pub row: usize,
}

/// The global batches of a whole training.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    batches: Vec<Vec<RowId>>,
    epoch_rows: usize,
}

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// Passes over the data (the longest set, if mixed equally).
    Epochs(f64),
    /// Optimiser steps.
    Steps(u64),
}

impl Order {
    /// Plans the batches of `batch` rows each (the last may be smaller) for
    /// sets of these sizes. Every epoch is a new permutation.
    pub fn new(sizes: &[usize], mixing: Mixing, batch: usize, length: Length, seed: u64) -> Self {
        match mixing {
            Mixing::Proportional => Self::proportional(sizes, batch, length, seed),
            Mixing::Equal => Self::equal(sizes, batch, length, seed),
        }
    }

    /// The batches, in order.
    pub fn batches(&self) -> &[Vec<RowId>] {
        &self.batches
    }

    /// Rows of an epoch: of all sets, or of the longest times the number of
    /// sets, if mixed equally.
    pub fn epoch_rows(&self) -> usize {
        self.epoch_rows
    }

    fn proportional(sizes: &[usize], batch: usize, length: Length, seed: u64) -> Self {
        let rows: Vec<RowId> = sizes
            .iter()
            .enumerate()
            .flat_map(|(set, &size)| (0..size).map(move |row| RowId { set, row }))
            .collect();
        let epoch_rows = rows.len();
        let wanted = match length {
            Length::Epochs(epochs) => (epochs * rows.len() as f64).round() as usize,
            Length::Steps(steps) => steps as usize * batch,
        };
        let stream: Vec<RowId> = Shuffled::new(rows, seed, 0).take(wanted).collect();
        Self {
            batches: stream.chunks(batch).map(<[RowId]>::to_vec).collect(),
            epoch_rows,
        }
    }

    fn equal(sizes: &[usize], batch: usize, length: Length, seed: u64) -> Self {
        let sets = sizes.len();
        let longest = sizes.iter().copied().max().unwrap_or(0);
        let steps = match length {
            Length::Epochs(epochs) => {
                (epochs * (longest * sets) as f64 / batch as f64).ceil() as usize
            }
            Length::Steps(steps) => steps as usize,
        };
        let mut streams: Vec<Shuffled<RowId>> = sizes
            .iter()
            .enumerate()
            .map(|(set, &size)| {
                let rows = (0..size).map(|row| RowId { set, row }).collect();
                Shuffled::new(rows, seed, 1 + set as u64)
            })
            .collect();
        // Round robin over the sets, going on where the last batch stopped, so
        // that a batch that does not divide evenly favours no set in the long run.
        let mut turn = 0;
        let batches = (0..steps)
            .map(|_| {
                let take = |turn: usize| streams[turn % sets].next();
                let rows = (turn..turn + batch).filter_map(take).collect();
                turn += batch;
                rows
            })
            .collect();
        Self {
            batches,
            epoch_rows: longest * sets,
        }
    }
}

/// An endless stream of permutations.
struct Shuffled<T> {
    items: Vec<T>,
    next: usize,
    rng: ChaCha8Rng,
}

impl<T> Shuffled<T> {
    fn new(items: Vec<T>, seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self {
            next: items.len(),
            items,
            rng,
        }
    }
}

impl<T: Copy> Iterator for Shuffled<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.items.is_empty() {
            return None;
        }
        if self.next == self.items.len() {
            self.items.shuffle(&mut self.rng);
            self.next = 0;
        }
        self.next += 1;
        Some(self.items[self.next - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_epoch_sees_every_row_once() {
        let order = Order::new(&[5, 3], Mixing::Proportional, 3, Length::Epochs(1.0), 7);
        let rows: Vec<RowId> = order.batches().concat();
        assert_eq!(rows.len(), 8);
        let distinct: HashSet<(usize, usize)> = rows.iter().map(|r| (r.set, r.row)).collect();
        assert_eq!(distinct.len(), 8);
        assert_eq!(
            order.batches().iter().map(Vec::len).collect::<Vec<_>>(),
            [3, 3, 2]
        );
    }

    #[test]
    fn equal_batches_hold_the_same_of_each_set() {
        let order = Order::new(&[10, 2], Mixing::Equal, 4, Length::Epochs(1.0), 7);
        assert_eq!(order.batches().len(), 5);
        for batch in order.batches() {
            assert_eq!(batch.iter().filter(|r| r.set == 0).count(), 2);
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        let order = |seed| Order::new(&[50], Mixing::Proportional, 8, Length::Steps(9), seed);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_eq!(order(1).batches().len(), 9);
    }
}
