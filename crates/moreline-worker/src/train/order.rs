//! Which rows each global batch takes, from the seed alone.

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

/// How batches draw from several sets.
#[derive(Debug, Clone, PartialEq)]
pub enum Mix {
    /// All rows shuffled together.
    Proportional,
    /// The sets in turn.
    Equal,
    /// This share of each set; the shares sum to 1.
    Shares(Vec<f64>),
}

impl Order {
    /// Plans the batches of `batch` rows each (the last may be smaller) from
    /// the rows of each set, some of which may be there more than once. Every
    /// pass over a set, or over all together, is a new permutation.
    pub fn new(sets: &[Vec<usize>], mix: &Mix, batch: usize, length: Length, seed: u64) -> Self {
        match mix {
            Mix::Proportional => Self::proportional(sets, batch, length, seed),
            Mix::Equal => Self::equal(sets, batch, length, seed),
            Mix::Shares(shares) => Self::shares(sets, shares, (batch, length), seed),
        }
    }

    /// The batches, in order.
    pub fn batches(&self) -> &[Vec<RowId>] {
        &self.batches
    }

    /// Rows of an epoch: of all sets, or of the longest times the number of
    /// sets, if mixed equally. Sets without a share do not count.
    pub fn epoch_rows(&self) -> usize {
        self.epoch_rows
    }

    /// Rows that the first `steps` batches draw from each of `sets` sets.
    pub fn drawn(&self, steps: usize, sets: usize) -> Vec<usize> {
        let mut drawn = vec![0; sets];
        for id in self.batches.iter().take(steps).flatten() {
            drawn[id.set] += 1;
        }
        drawn
    }

    fn proportional(sets: &[Vec<usize>], batch: usize, length: Length, seed: u64) -> Self {
        let rows: Vec<RowId> = ids(sets).flatten().collect();
        let epoch_rows = rows.len();
        let wanted = length.rows(epoch_rows, batch);
        let stream: Vec<RowId> = Shuffled::new(rows, seed, 0).take(wanted).collect();
        Self {
            batches: stream.chunks(batch).map(<[RowId]>::to_vec).collect(),
            epoch_rows,
        }
    }

    fn equal(sets: &[Vec<usize>], batch: usize, length: Length, seed: u64) -> Self {
        let longest = sets.iter().map(Vec::len).max().unwrap_or(0);
        let count = sets.len();
        let steps = match length {
            Length::Epochs(epochs) => {
                (epochs * (longest * count) as f64 / batch as f64).ceil() as usize
            }
            Length::Steps(steps) => steps as usize,
        };
        let mut streams = streams(sets, seed);
        // Round robin over the sets, going on where the last batch stopped, so
        // that a batch that does not divide evenly favours no set in the long run.
        let mut turn = 0;
        let batches = (0..steps)
            .map(|_| {
                let take = |turn: usize| streams[turn % count].next();
                let rows = (turn..turn + batch).filter_map(take).collect();
                turn += batch;
                rows
            })
            .collect();
        Self {
            batches,
            epoch_rows: longest * count,
        }
    }

    /// Every row comes from the set that is furthest behind its share, so that
    /// batches hold the shares as nearly as whole rows allow; with equal shares
    /// the sets take turns.
    fn shares(
        sets: &[Vec<usize>],
        shares: &[f64],
        (batch, length): (usize, Length),
        seed: u64,
    ) -> Self {
        let with_share = sets.iter().zip(shares).filter(|(_, share)| **share > 0.0);
        let epoch_rows = with_share.map(|(rows, _)| rows.len()).sum();
        let mut streams = streams(sets, seed);
        let mut drawn = vec![0usize; sets.len()];
        let mut stream = Vec::new();
        for position in 1..=length.rows(epoch_rows, batch) {
            let behind = |set: usize| shares[set] * position as f64 - drawn[set] as f64;
            let first = |a: usize, b: usize| if behind(b) > behind(a) { b } else { a };
            let set = (0..sets.len()).reduce(first).unwrap_or(0);
            drawn[set] += 1;
            stream.extend(streams[set].next());
        }
        Self {
            batches: stream.chunks(batch).map(<[RowId]>::to_vec).collect(),
            epoch_rows,
        }
    }
}

impl Length {
    fn rows(self, epoch: usize, batch: usize) -> usize {
        match self {
            Self::Epochs(epochs) => (epochs * epoch as f64).round() as usize,
            Self::Steps(steps) => steps as usize * batch,
        }
    }
}

/// The rows of each set.
fn ids(sets: &[Vec<usize>]) -> impl Iterator<Item = impl Iterator<Item = RowId>> {
    let of_set = |(set, rows): (usize, &'_ Vec<usize>)| {
        let rows = rows.clone();
        rows.into_iter().map(move |row| RowId { set, row })
    };
    sets.iter().enumerate().map(of_set)
}

/// A stream of each set.
fn streams(sets: &[Vec<usize>], seed: u64) -> Vec<Shuffled<RowId>> {
    let stream = |(set, rows)| Shuffled::new(Iterator::collect(rows), seed, 1 + set as u64);
    ids(sets).enumerate().map(stream).collect()
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

    fn order(sizes: &[usize], mix: Mix, batch: usize, length: Length, seed: u64) -> Order {
        let sets: Vec<Vec<usize>> = sizes.iter().map(|&size| (0..size).collect()).collect();
        Order::new(&sets, &mix, batch, length, seed)
    }

    #[test]
    fn an_epoch_sees_every_row_once() {
        let order = order(&[5, 3], Mix::Proportional, 3, Length::Epochs(1.0), 7);
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
        let order = order(&[10, 2], Mix::Equal, 4, Length::Epochs(1.0), 7);
        assert_eq!(order.batches().len(), 5);
        for batch in order.batches() {
            assert_eq!(batch.iter().filter(|r| r.set == 0).count(), 2);
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        let order = |seed| order(&[50], Mix::Proportional, 8, Length::Steps(9), seed);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_eq!(order(1).batches().len(), 9);
    }

    #[test]
    fn every_batch_holds_the_shares() {
        let shares = Mix::Shares(vec![0.5, 0.3, 0.2, 0.0]);
        let order = order(&[40, 7, 100, 9], shares, 10, Length::Epochs(1.0), 3);
        assert_eq!(order.epoch_rows(), 147);
        assert_eq!(order.batches().len(), 15);
        for batch in &order.batches()[..14] {
            let of = |set| batch.iter().filter(|row| row.set == set).count();
            assert_eq!([of(0), of(1), of(2), of(3)], [5, 3, 2, 0]);
        }
        assert_eq!(order.drawn(14, 4), [70, 42, 28, 0]);
        assert_eq!(order.drawn(2, 4), [10, 6, 4, 0]);
        // A set that starts over was passed as a whole before.
        let second: Vec<usize> = order
            .batches()
            .concat()
            .iter()
            .filter(|r| r.set == 1)
            .map(|r| r.row)
            .collect();
        for pass in second.chunks_exact(7) {
            assert_eq!(pass.iter().collect::<HashSet<_>>().len(), 7);
        }
    }

    #[test]
    fn shares_that_do_not_divide_hold_over_batches() {
        let shares = vec![0.61, 0.07, 0.32];
        let order = order(
            &[9, 9, 9],
            Mix::Shares(shares.clone()),
            4,
            Length::Steps(50),
            3,
        );
        for steps in 1..=50 {
            for (drawn, share) in order.drawn(steps, 3).iter().zip(&shares) {
                assert!((*drawn as f64 - share * 4.0 * steps as f64).abs() < 1.0);
            }
        }
    }

    #[test]
    fn equal_shares_are_the_sets_in_turn() {
        let length = Length::Steps(30);
        let turns = order(&[10, 4, 7], Mix::Equal, 5, length, 11);
        let shares = order(&[10, 4, 7], Mix::Shares(vec![1.0 / 3.0; 3]), 5, length, 11);
        assert_eq!(turns.batches(), shares.batches());
    }
}
