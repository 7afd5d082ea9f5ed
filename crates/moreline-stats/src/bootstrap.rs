//! The percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
//! chapter 13), seeded: equal records and settings give equal intervals.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::describe::{raw_mean, sorted_quantile};
use crate::error::{Result, check_count, check_finite, check_level, check_parallel};
use crate::interval::Interval;

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples, at least 1.
    pub replicates: usize,
    /// Level of confidence, in (0, 1).
    pub level: f64,
    /// Seed of the ChaCha8 stream.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 2,000 resamples at 95 %, seed 0.
    fn default() -> Self {
        Self {
            replicates: 2000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// The difference of two systems on the same records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// Mean of first minus second, with its percentile interval.
    pub difference: Interval,
    /// Two-sided p value of "no difference": twice the smaller share of resamples on either
    /// side of zero, `(1 + count) / (1 + replicates)` each, at most 1.
    pub p_value: f64,
}

impl Bootstrap {
    /// The percentile interval of the mean of `values`.
    pub fn mean(&self, values: &[f64]) -> Result<Interval> {
        check_finite("a bootstrap of the mean", values, 1)?;
        self.statistic(values.len(), |rows| Ok(mean_of(values, rows)))
    }

    /// The percentile interval of any statistic of `records` records. `statistic` is given
    /// the indices of the records drawn (first all of them in order, for the estimate). Its
    /// first error ends the bootstrap.
    pub fn statistic(
        &self,
        records: usize,
        mut statistic: impl FnMut(&[usize]) -> Result<f64>,
    ) -> Result<Interval> {
        let estimate = statistic(&(0..records).collect::<Vec<_>>())?;
        let sorted = self.replicates(records, statistic)?;
        Ok(self.interval(estimate, &sorted))
    }

    /// The mean difference `first - second`, record by record.
    pub fn paired_difference(&self, first: &[f64], second: &[f64]) -> Result<PairedDifference> {
        check_parallel(
            ("the first system", first.len()),
            ("the second system", second.len()),
        )?;
        check_finite("a paired difference", first, 1)?;
        check_finite("a paired difference", second, 1)?;
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
        let sorted = self.replicates(differences.len(), |rows| Ok(mean_of(&differences, rows)))?;
        Ok(self.against_zero(raw_mean(&differences), &sorted))
    }

    /// The mean difference `first - second` of values of which a record has several, such as
    /// one for each pair of its responses: records are resampled whole, and the mean is that of
    /// all values drawn. With one value a record that is [`Self::paired_difference`]. Records
    /// without values do not count.
    pub fn clustered_difference(
        &self,
        first: &[Vec<f64>],
        second: &[Vec<f64>],
    ) -> Result<PairedDifference> {
        check_parallel(
            ("the first system", first.len()),
            ("the second system", second.len()),
        )?;
        let mut records = Vec::new();
        for (a, b) in first.iter().zip(second) {
            check_parallel(("the first record", a.len()), ("the second", b.len()))?;
            check_finite("a paired difference", a, 0)?;
            check_finite("a paired difference", b, 0)?;
            if !a.is_empty() {
                let sum: f64 = a.iter().zip(b).map(|(a, b)| a - b).sum();
                records.push((sum, a.len() as f64));
            }
        }
        let mean = |rows: &mut dyn Iterator<Item = usize>| {
            let (sum, count) = rows
                .map(|row| records[row])
                .fold((0.0, 0.0), |all, own| (all.0 + own.0, all.1 + own.1));
            sum / count
        };
        let sorted = self.replicates(records.len(), |rows| Ok(mean(&mut rows.iter().copied())))?;
        Ok(self.against_zero(mean(&mut (0..records.len())), &sorted))
    }

    fn against_zero(&self, estimate: f64, sorted: &[f64]) -> PairedDifference {
        let share = |count: usize| (1 + count) as f64 / (1 + sorted.len()) as f64;
        let at_most = share(sorted.iter().filter(|mean| **mean <= 0.0).count());
        let at_least = share(sorted.iter().filter(|mean| **mean >= 0.0).count());
        PairedDifference {
            difference: self.interval(estimate, sorted),
            p_value: (2.0 * at_most.min(at_least)).min(1.0),
        }
    }

    /// The statistic of every resample, sorted.
    fn replicates(
        &self,
        records: usize,
        mut statistic: impl FnMut(&[usize]) -> Result<f64>,
    ) -> Result<Vec<f64>> {
        check_level(self.level)?;
        check_count("records to resample", records, 1)?;
        check_count("bootstrap resamples", self.replicates, 1)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut rows = vec![0; records];
        let mut found = Vec::new();
        for _ in 0..self.replicates {
            rows.fill_with(|| rng.random_range(0..records as u64) as usize);
            found.push(statistic(&rows)?);
        }
        check_finite("a resampled statistic", &found, 1)?;
        found.sort_by(f64::total_cmp);
        Ok(found)
    }

    fn interval(&self, estimate: f64, sorted: &[f64]) -> Interval {
        let tail = (1.0 - self.level) / 2.0;
        let (lower, upper) = (
            sorted_quantile(sorted, tail),
            sorted_quantile(sorted, 1.0 - tail),
        );
        Interval {
            estimate,
            lower,
            upper,
            level: self.level,
        }
    }
}

fn mean_of(values: &[f64], rows: &[usize]) -> f64 {
    rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe;
    use crate::error::Error;

    /// A fixed sample with mean 0.5 and a spread known in closed form.
    fn grid(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i as f64 + 0.5) / n as f64).collect()
    }

    #[test]
    fn interval_of_the_mean_has_the_normal_width() {
        let values = grid(400);
        let found = Bootstrap::default().mean(&values).unwrap();
        let wanted = 2.0 * 1.96 * describe::standard_error(&values).unwrap();
        assert!((found.estimate - 0.5).abs() < 1e-12);
        assert!(((found.upper - found.lower) / wanted - 1.0).abs() < 0.06);
        assert!(found.lower < 0.5 && 0.5 < found.upper);
    }

    #[test]
    fn equal_seeds_agree_and_others_do_not() {
        let values = grid(50);
        let plan = Bootstrap {
            replicates: 200,
            level: 0.9,
            seed: 7,
        };
        assert_eq!(plan.mean(&values), plan.mean(&values));
        assert_ne!(
            plan.mean(&values),
            Bootstrap { seed: 8, ..plan }.mean(&values)
        );
    }

    #[test]
    fn any_statistic_over_records() {
        let values = grid(101);
        let median = |rows: &[usize]| {
            describe::quantile(
                &rows.iter().map(|&row| values[row]).collect::<Vec<_>>(),
                0.5,
            )
        };
        let found = Bootstrap::default()
            .statistic(values.len(), median)
            .unwrap();
        assert!((found.estimate - 0.5).abs() < 1e-12);
        // Asymptotically the median of n uniform values has standard deviation 1 / (2 sqrt n).
        let wanted = 1.96 / (101f64).sqrt();
        assert!(((found.upper - found.lower) / wanted - 1.0).abs() < 0.2);
    }

    #[test]
    fn paired_difference_sees_what_is_paired() {
        let first = grid(100);
        let second: Vec<f64> = first
            .iter()
            .enumerate()
            .map(|(i, x)| x - 0.01 - 0.001 * (i % 3) as f64)
            .collect();
        let found = Bootstrap::default()
            .paired_difference(&first, &second)
            .unwrap();
        assert!(found.difference.lower > 0.0);
        assert!(found.p_value < 0.002);
        let none = Bootstrap::default()
            .paired_difference(&first, &first)
            .unwrap();
        assert_eq!((none.difference.estimate, none.p_value), (0.0, 1.0));
    }

    #[test]
    fn whole_records_are_resampled() {
        let plan = Bootstrap::default();
        let (first, second) = (grid(60), vec![0.25; 60]);
        let alone = |values: &[f64]| -> Vec<Vec<f64>> { values.iter().map(|v| vec![*v]).collect() };
        assert_eq!(
            plan.clustered_difference(&alone(&first), &alone(&second)),
            plan.paired_difference(&first, &second)
        );
        // Ten copies of every value say no more than one: the interval stays.
        let copies =
            |values: &[f64]| -> Vec<Vec<f64>> { values.iter().map(|v| vec![*v; 10]).collect() };
        let mut many = (copies(&first), copies(&second));
        let found = plan.clustered_difference(&many.0, &many.1).unwrap();
        let once = plan.paired_difference(&first, &second).unwrap();
        assert!((found.difference.lower - once.difference.lower).abs() < 1e-12);
        assert!((found.difference.upper - once.difference.upper).abs() < 1e-12);
        many.0.push(vec![]);
        many.1.push(vec![]);
        assert_eq!(plan.clustered_difference(&many.0, &many.1), Ok(found));
        assert!(plan.clustered_difference(&[vec![]], &[vec![]]).is_err());
        assert!(plan.clustered_difference(&[vec![1.0]], &[vec![]]).is_err());
        assert!(
            plan.clustered_difference(&[vec![f64::NAN]], &[vec![1.0]])
                .is_err()
        );
    }

    #[test]
    fn bad_input_is_an_error() {
        let plan = Bootstrap::default();
        assert!(plan.mean(&[]).is_err());
        assert!(plan.mean(&[f64::INFINITY]).is_err());
        assert!(
            Bootstrap {
                replicates: 0,
                ..plan
            }
            .mean(&[1.0])
            .is_err()
        );
        assert!(Bootstrap { level: 1.5, ..plan }.mean(&[1.0]).is_err());
        assert!(plan.paired_difference(&[1.0], &[]).is_err());
        let failing = plan.statistic(3, |_| {
            Err(Error::Undetermined {
                what: "a figure",
                reason: "it is a test",
            })
        });
        assert!(failing.is_err());
    }
}
