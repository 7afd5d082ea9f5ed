//! Which rows of each set training draws from, and in which shares.

use moreline_protocol::spec::{Mixing, Resampling, TrainReward};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::order::{Length, Mix, Order};
use crate::error::WorkerError;

/// Where the streams of random numbers of resampled sets begin.
const RESAMPLED: u64 = 1 << 60;

/// The batches of a training on sets with these names and numbers of rows.
///
/// # Errors
/// Settings of the mixture that are missing or do not fit the sets.
pub(super) fn order(
    spec: &TrainReward,
    names: &[String],
    sizes: &[usize],
) -> Result<Order, WorkerError> {
    let rows = |(set, &size): (usize, &usize)| match spec.resample {
        Some(wanted) => resampled(size, wanted as usize, spec.resampling, (spec.seed, set)),
        None => (0..size).collect(),
    };
    let sets: Vec<Vec<usize>> = sizes.iter().enumerate().map(rows).collect();
    let length = spec
        .steps
        .map_or(Length::Epochs(spec.epochs), Length::Steps);
    let mix = mix(spec, names, &sets)?;
    let batch = spec.batch as usize;
    Ok(Order::new(&sets, &mix, batch, length, spec.seed))
}

fn mix(spec: &TrainReward, names: &[String], sets: &[Vec<usize>]) -> Result<Mix, WorkerError> {
    let shares = match spec.mixing() {
        Mixing::Proportional => return Ok(Mix::Proportional),
        Mixing::Equal => return Ok(Mix::Equal),
        Mixing::Temperature => {
            let temperature = spec.mixing_temperature.filter(|t| *t > 0.0);
            let temperature = temperature.ok_or_else(|| {
                WorkerError::input(
                    "mix sets by temperature: it is not given",
                    "set `mixing_temperature` to a number above 0",
                )
            })?;
            let sizes: Vec<usize> = sets.iter().map(Vec::len).collect();
            by_temperature(&sizes, temperature)
        }
        Mixing::Weights => {
            let weights = spec.mixing_weights.iter().flatten();
            let weights: Vec<(&str, f64)> = weights.map(|(name, w)| (name.as_str(), *w)).collect();
            by_weights(&weights, names)?
        }
    };
    Ok(Mix::Shares(shares))
}

/// Shares in proportion to the sizes raised to 1 / `temperature`.
fn by_temperature(sizes: &[usize], temperature: f64) -> Vec<f64> {
    // Relative to the largest, so that no power overflows.
    let largest = sizes.iter().copied().max().unwrap_or(1).max(1) as f64;
    let power = |&size: &usize| (size as f64 / largest).powf(1.0 / temperature);
    let powers: Vec<f64> = sizes.iter().map(power).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Shares in proportion to weights by name, in the order of `names`.
fn by_weights(weights: &[(&str, f64)], names: &[String]) -> Result<Vec<f64>, WorkerError> {
    let wrong = |message: String| {
        let sets = names.join("`, `");
        WorkerError::input(
            format!("mix sets by weights: {message}"),
            format!(
                "give `mixing_weights` a number for each of `{sets}`, none below 0 and not all 0"
            ),
        )
    };
    if let Some((name, _)) = weights
        .iter()
        .find(|(name, _)| names.iter().all(|other| other != name))
    {
        return Err(wrong(format!("there is no set `{name}`")));
    }
    let weight = |name: &String| {
        let found = weights.iter().find(|(other, _)| other == name);
        let (_, weight) = found.ok_or_else(|| wrong(format!("`{name}` has none")))?;
        if weight.is_finite() && *weight >= 0.0 {
            return Ok(*weight);
        }
        Err(wrong(format!("that of `{name}` is {weight}")))
    };
    let found: Vec<f64> = names.iter().map(weight).collect::<Result<_, _>>()?;
    let largest = found.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return Err(wrong("their sum is 0".into()));
    }
    let scaled: Vec<f64> = found.iter().map(|weight| weight / largest).collect();
    let sum: f64 = scaled.iter().sum();
    Ok(scaled.into_iter().map(|weight| weight / sum).collect())
}

/// `wanted` rows of a set of `size` rows, from the seed and the set's number.
fn resampled(size: usize, wanted: usize, how: Resampling, (seed, set): (u64, usize)) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(RESAMPLED + set as u64);
    if size == 0 {
        return Vec::new();
    }
    match how {
        Resampling::Random if size < wanted => {
            (0..wanted).map(|_| rng.random_range(0..size)).collect()
        }
        Resampling::Random => without_replacement(size, wanted, &mut rng),
        Resampling::Published if size < wanted => {
            let missing = wanted - size;
            let pool = missing.div_ceil(size) * size;
            let more = without_replacement(pool, missing, &mut rng);
            let more = more.into_iter().map(|row| row % size);
            (0..size).chain(more).collect()
        }
        Resampling::Published => (0..wanted).collect(),
    }
}

/// `wanted` of the numbers below `size`.
fn without_replacement(size: usize, wanted: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut all: Vec<usize> = (0..size).collect();
    let (chosen, _) = all.partial_shuffle(rng, wanted);
    chosen.to_vec()
}

#[cfg(test)]
mod tests {
    use moreline_protocol::spec::StageSpec;
    use serde_json::{Value, json};

    use super::*;

    fn planned(settings: Value, sizes: &[usize]) -> Result<Order, String> {
        let mut table = json!({"kind": "train-reward", "model": "m", "data": ["a", "b", "c"]});
        let own = settings.as_object().unwrap().clone();
        table.as_object_mut().unwrap().extend(own);
        let StageSpec::TrainReward(spec) = serde_json::from_value(table).unwrap() else {
            unreachable!("the kind says so");
        };
        let names: Vec<String> = ["a", "b", "c"][..sizes.len()]
            .iter()
            .map(|n| (*n).into())
            .collect();
        order(&spec, &names, sizes).map_err(|error| error.to_string())
    }

    /// How often each row of a set is drawn.
    fn counts(order: &Order, set: usize, size: usize) -> Vec<usize> {
        let mut counts = vec![0; size];
        for id in order.batches().iter().flatten().filter(|id| id.set == set) {
            counts[id.row] += 1;
        }
        counts
    }

    #[test]
    fn temperature_lies_between_proportional_and_equal() {
        assert_eq!(by_temperature(&[300, 100], 1.0), [0.75, 0.25]);
        let two = by_temperature(&[900, 100], 2.0);
        assert!((two[0] - 0.75).abs() < 1e-15 && (two[1] - 0.25).abs() < 1e-15);
        let high = by_temperature(&[1_000_000, 1], 1e9);
        assert!((high[0] - 0.5).abs() < 1e-6);
        let settings = json!({"mixing": "temperature", "mixing_temperature": 2.0, "batch": 8});
        let order = planned(settings, &[900, 100]).unwrap();
        assert_eq!(order.drawn(10, 2), [60, 20]);
        assert!(
            planned(json!({"mixing": "temperature"}), &[9])
                .unwrap_err()
                .contains("not given")
        );
    }

    #[test]
    fn weights_are_those_of_the_sets_names() {
        let settings =
            |weights: Value| json!({"mixing": "weights", "mixing_weights": weights, "batch": 10});
        let order = planned(settings(json!({"b": 3, "a": 2, "c": 0})), &[10, 30, 5]).unwrap();
        assert_eq!(order.drawn(3, 3), [12, 18, 0]);
        assert_eq!(order.epoch_rows(), 40);
        let refused = [
            (json!({"a": 1, "b": 1, "d": 1}), "there is no set `d`"),
            (json!({"a": 1, "b": 1}), "`c` has none"),
            (json!({"a": 0, "b": 0, "c": 0}), "their sum is 0"),
            (json!({"a": 1, "b": -1, "c": 0}), "that of `b` is -1"),
        ];
        for (weights, message) in refused {
            let error = planned(settings(weights), &[1, 1, 1]).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(
            planned(json!({"mixing": "weights"}), &[1])
                .unwrap_err()
                .contains("has none")
        );
    }

    #[test]
    fn resampled_sets_have_the_size_asked_for() {
        let settings = json!({"resample": 20, "mixing": "equal", "batch": 4});
        let order = planned(settings, &[7, 20, 50]).unwrap();
        assert_eq!(order.epoch_rows(), 60);
        // With replacement: some more often than others.
        let small = counts(&order, 0, 7);
        assert_eq!(small.iter().sum::<usize>(), 20);
        assert!(small.iter().max() > small.iter().min());
        assert_eq!(counts(&order, 1, 20), [1; 20]);
        let large = counts(&order, 2, 50);
        assert_eq!(
            (large.iter().sum::<usize>(), large.iter().max()),
            (20, Some(&1))
        );
        assert!(large[20..].iter().sum::<usize>() > 0);
    }

    /// The published loop takes the missing rows of a set that needs less than
    /// a second copy from the set before, and leaves out what does not fill a
    /// batch of one row a task. Here every set is filled from its own rows, and
    /// all of them are drawn.
    #[test]
    fn the_published_rule_takes_rows_of_the_right_set() {
        let settings = json!({
            "resample": 20, "resampling": "published", "mixing": "equal", "batch": 3,
        });
        let order = planned(settings, &[3, 13, 50]).unwrap();
        assert_eq!(order.drawn(20, 3), [20, 20, 20]);
        // 20 = 3 + 17 of six copies: each at least once, at most seven times.
        let small = counts(&order, 0, 3);
        assert!(small.iter().all(|n| (1..=7).contains(n)), "{small:?}");
        // 20 = 13 + 7 of one copy: seven of them twice.
        let middle = counts(&order, 1, 13);
        assert_eq!(middle.iter().filter(|n| **n == 2).count(), 7);
        assert!(middle.iter().all(|n| (1..=2).contains(n)));
        // The first rows.
        let large = counts(&order, 2, 50);
        assert!(large[..20].iter().all(|n| *n == 1) && large[20..].iter().all(|n| *n == 0));
    }

    #[test]
    fn the_seed_decides_and_each_set_has_a_stream_of_its_own() {
        let rows = |seed, set| resampled(30, 10, Resampling::Random, (seed, set));
        assert_eq!(rows(1, 0), rows(1, 0));
        assert_ne!(rows(1, 0), rows(2, 0));
        assert_ne!(rows(1, 0), rows(1, 1));
        assert_eq!(
            resampled(0, 10, Resampling::Random, (1, 0)),
            Vec::<usize>::new()
        );
    }
}
