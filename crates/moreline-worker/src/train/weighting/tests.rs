//! Weights of whole steps against closed forms.

use moreline_protocol::spec::StageSpec;
use serde_json::{Value, json};

use super::*;

fn weighting(settings: Value, tasks: usize, hidden: usize) -> Weighting {
    let mut table = json!({"kind": "train-reward", "model": "m", "data": ["a", "b"]});
    let own = settings.as_object().unwrap().clone();
    table.as_object_mut().unwrap().extend(own);
    let StageSpec::TrainReward(spec) = serde_json::from_value(table).unwrap() else {
        unreachable!("the kind says so");
    };
    Weighting::new(&spec, tasks, hidden)
}

/// A row with the summed loss and head gradient of `pairs` pairs.
fn row(task: usize, pairs: usize, loss: f64, head_grad: &[f64]) -> ScoredRow {
    ScoredRow {
        task,
        loss: GroupLoss {
            loss,
            pairs,
            ..GroupLoss::default()
        },
        head_grad: head_grad.to_vec(),
    }
}

fn assert_close(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{found:?} {wanted:?}");
    for (a, b) in found.iter().zip(wanted) {
        assert!((a - b).abs() < 1e-12, "{found:?} is not {wanted:?}");
    }
}

fn tasks(weights: &StepWeights) -> Vec<f64> {
    weights.tasks.iter().flatten().copied().collect()
}

/// What the backward pass would use beforehand is what is solved afterwards.
fn assert_known_beforehand(weighting: &mut Weighting, rows: &[ScoredRow]) -> StepWeights {
    let known: Vec<(usize, usize)> = rows.iter().map(|r| (r.task, r.loss.pairs)).collect();
    let factors = weighting.beforehand(&known).unwrap();
    let found = weighting.solve(rows).unwrap();
    assert_eq!(factors, found.rows);
    found
}

fn three_rows() -> Vec<ScoredRow> {
    vec![
        row(0, 1, 0.5, &[]),
        row(1, 2, 3.0, &[]),
        row(1, 1, 1.5, &[]),
    ]
}

#[test]
fn uniform_and_single_count_every_pair_the_same() {
    for method in ["uniform", "single"] {
        let mut weighting = weighting(json!({"method": method}), 2, 1);
        let found = assert_known_beforehand(&mut weighting, &three_rows());
        assert_eq!(found.rows, [0.25; 3]);
        assert_eq!((tasks(&found), found.loss), (vec![0.25, 0.75], 1.25));
    }
}

/// The published `--reweight False` takes the numbers of the tasks (0, 1, ...)
/// for their weights, so that the first counts nothing; these are 1 / K.
#[test]
fn uniform_by_task_counts_every_task_the_same() {
    let mut weighting = weighting(json!({"group_by_task": true}), 2, 1);
    assert!(!weighting.needs_head_grads());
    let found = assert_known_beforehand(&mut weighting, &three_rows());
    assert_eq!(tasks(&found), [0.5, 0.5]);
    assert_close(&found.rows, &[0.5, 0.5 / 3.0, 0.5 / 3.0]);
    assert!((found.loss - (0.5 + 1.5) / 2.0).abs() < 1e-15);
    // Of three tasks, one is not there.
    let mut of_three = self::weighting(json!({"group_by_task": true}), 3, 1);
    let found = assert_known_beforehand(&mut of_three, &three_rows());
    assert_eq!(found.tasks, [Some(0.5), Some(0.5), None]);
}

/// K sum_k lambda_k S_k / N: pairs of the larger task count more.
#[test]
fn weights_of_pairs_are_rescaled_by_the_number_of_tasks() {
    let settings = json!({"group_by_task": true, "weighted_loss": "pairs"});
    let mut uniform = weighting(settings, 2, 1);
    let found = assert_known_beforehand(&mut uniform, &three_rows());
    assert_close(&found.rows, &[0.25; 3]);
    assert!((found.loss - 1.25).abs() < 1e-15);
    let more = json!({"method": "more", "weighted_loss": "pairs", "normalize": "none"});
    let mut more = weighting(more, 2, 2);
    // Orthogonal mean gradients of lengths 1 and 2: weights 4/5 and 1/5.
    let rows = [row(0, 1, 0.5, &[0.99, 0.0]), row(1, 3, 4.5, &[0.0, 5.94])];
    let found = more.solve(&rows).unwrap();
    assert_close(&tasks(&found), &[0.8, 0.2]);
    assert_close(&found.rows, &[2.0 * 0.8 / 4.0, 2.0 * 0.2 / 4.0]);
    assert_close(&[found.loss], &[2.0 * (0.8 * 0.5 + 0.2 * 4.5) / 4.0]);
}

#[test]
fn more_weighs_two_tasks_by_the_closed_form() {
    let settings = json!({"method": "more", "alpha": 1.0, "normalize": "none"});
    let solve = |a: &[f64], b: &[f64]| {
        let rows = [row(0, 1, 0.5, a), row(1, 1, 0.7, b)];
        let found = weighting(settings.clone(), 2, 2).solve(&rows).unwrap();
        assert_close(&found.rows, &tasks(&found));
        tasks(&found)
    };
    // (b - a) b / |a - b|².
    assert_close(&solve(&[2.0, 0.0], &[1.0, 1.0]), &[0.0, 1.0]);
    assert_close(&solve(&[2.0, 0.0], &[0.0, 1.0]), &[0.2, 0.8]);
    assert_close(&solve(&[1.0, 0.0], &[-1.0, 1.0]), &[0.6, 0.4]);
    assert_close(&solve(&[1.0, 2.0], &[1.0, 2.0]), &[0.5, 0.5]);
    assert_close(&solve(&[0.0, 0.0], &[1.0, 2.0]), &[1.0, 0.0]);
    assert_close(&solve(&[0.0, 0.0], &[0.0, 0.0]), &[0.5, 0.5]);
}

#[test]
fn a_single_task_weighs_one_and_a_missing_one_nothing() {
    for method in ["more", "pcgrad", "dwa"] {
        let rows = [row(1, 2, 1.0, &[1.0, -1.0])];
        let mut alone = weighting(json!({"method": method}), 3, 2);
        let found = alone.solve(&rows).unwrap();
        assert_eq!(found.tasks, [None, Some(1.0), None], "{method}");
        assert_eq!((found.rows, found.loss), (vec![0.5], 0.5));
        let rows = [
            row(0, 1, 0.5, &[1.0, 0.0]),
            row(1, 0, 0.0, &[0.0, 0.0]),
            row(2, 1, 0.5, &[0.0, 1.0]),
        ];
        let found = weighting(json!({"method": method}), 3, 2)
            .solve(&rows)
            .unwrap();
        assert_eq!(found.tasks, [Some(0.5), None, Some(0.5)], "{method}");
        assert_eq!(found.rows, [0.5, 0.0, 0.5]);
        let none = alone.solve(&[row(0, 0, 0.0, &[0.0, 0.0])]).unwrap();
        assert_eq!((none.rows, none.loss), (vec![0.0], 0.0));
    }
}

#[test]
fn momentum_is_that_of_the_tasks_present_only() {
    let settings = json!({"method": "more", "alpha": 0.75, "normalize": "none"});
    let mut more = weighting(settings, 2, 1);
    more.solve(&[row(0, 2, 1.0, &[8.0]), row(1, 1, 1.0, &[-2.0])])
        .unwrap();
    assert_eq!(more.memory().momentum, [vec![3.0], vec![-1.5]]);
    more.solve(&[row(0, 1, 1.0, &[1.0])]).unwrap();
    assert_eq!(more.memory().momentum, [vec![1.5], vec![-1.5]]);
}

#[test]
fn the_published_first_momentum_is_a_head_that_all_tasks_share() {
    let settings = |seed: u64| json!({"method": "more", "first_momentum": "random-head", "weight_groups": 3, "seed": seed});
    let more = weighting(settings(4), 2, 4096);
    let first = &more.memory().momentum[0];
    assert_eq!(more.memory().momentum.len(), 6);
    assert!(more.memory().momentum.iter().all(|other| other == first));
    let bound = 1.0 / 64.0;
    assert!(first.iter().all(|value| value.abs() <= bound));
    // Uniform: variance bound² / 3, and the ends are reached.
    let variance = first.iter().map(|value| value * value).sum::<f64>() / 4096.0;
    assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.1);
    assert!(first.iter().any(|value| *value > 0.99 * bound));
    assert_eq!(first, &weighting(settings(4), 2, 4096).memory().momentum[0]);
    assert_ne!(first, &weighting(settings(5), 2, 4096).memory().momentum[0]);
    let zero = weighting(json!({"method": "more"}), 2, 3);
    assert_eq!(zero.memory().momentum, [[0.0; 3], [0.0; 3]]);
}

/// Five rows a group, one of each task, as on each GPU of the published runs;
/// no row is left out, however many there are.
#[test]
fn groups_are_solved_by_themselves_and_every_row_counts() {
    let settings = json!({"method": "more", "weight_groups": 2, "alpha": 1.0, "normalize": "none"});
    let rows = [
        row(0, 1, 0.5, &[1.0, 0.0]),
        row(1, 1, 0.5, &[0.0, 2.0]),
        row(0, 1, 0.5, &[3.0, 0.0]),
        row(1, 1, 0.5, &[0.0, 1.0]),
    ];
    let found = weighting(settings, 2, 2).solve(&rows).unwrap();
    assert_close(&found.rows, &[0.4, 0.1, 0.05, 0.45]);
    assert_close(&tasks(&found), &[0.45, 0.55]);
    // More rows than tasks in one group: all of a task's rows share its weight.
    let settings = json!({"method": "more", "alpha": 1.0, "normalize": "none"});
    let found = weighting(settings, 2, 2).solve(&rows).unwrap();
    assert!(found.rows.iter().all(|factor| *factor > 0.0));
    // Mean gradients (2, 0) and (0, 3/2).
    let first = 2.25 / 6.25;
    assert_close(&tasks(&found), &[first, 1.0 - first]);
}

#[test]
fn pcgrad_takes_the_gradients_of_the_batch() {
    let conflicting = [row(0, 1, 0.5, &[1.0, 0.0]), row(1, 2, 0.7, &[-2.0, 2.0])];
    let mut pcgrad = weighting(json!({"method": "pcgrad"}), 2, 2);
    assert!(pcgrad.needs_head_grads() && pcgrad.beforehand(&[(0, 1)]).is_none());
    for _ in 0..2 {
        let found = pcgrad.solve(&conflicting).unwrap();
        assert_close(&tasks(&found), &[4.0 / 7.0, 3.0 / 7.0]);
        assert_close(&found.rows, &[4.0 / 7.0, 1.5 / 7.0]);
    }
    assert!(pcgrad.memory().momentum.is_empty());
    let equal = [row(0, 1, 0.5, &[1.0, 2.0]), row(1, 1, 0.7, &[1.0, 2.0])];
    assert_eq!(tasks(&pcgrad.solve(&equal).unwrap()), [0.5, 0.5]);
    let zero = [row(0, 1, 0.5, &[0.0, 0.0]), row(1, 1, 0.7, &[1.0, 2.0])];
    assert_eq!(tasks(&pcgrad.solve(&zero).unwrap()), [0.5, 0.5]);
}

/// Three tasks whose weights depend on the order: every step has its own, from
/// the seed and its number, also after a restart.
#[test]
fn pcgrad_orders_follow_from_seed_and_step() {
    let rows = [
        row(0, 1, 0.5, &[1.0, 0.0]),
        row(1, 1, 0.5, &[-1.0, 1.0]),
        row(2, 1, 0.5, &[0.0, -1.0]),
    ];
    let settings = |seed: u64| json!({"method": "pcgrad", "seed": seed});
    let run = |pcgrad: &mut Weighting, steps: usize| -> Vec<Vec<f64>> {
        (0..steps)
            .map(|_| tasks(&pcgrad.solve(&rows).unwrap()))
            .collect()
    };
    let whole = run(&mut weighting(settings(1), 3, 2), 12);
    assert!(whole.iter().any(|weights| *weights != whole[0]));
    let mut first = weighting(settings(1), 3, 2);
    let mut parts = run(&mut first, 5);
    let state = serde_json::to_string(first.memory()).unwrap();
    let mut second = weighting(settings(1), 3, 2);
    second.restore(serde_json::from_str(&state).unwrap());
    parts.extend(run(&mut second, 7));
    assert_eq!(whole, parts);
    assert_ne!(whole, run(&mut weighting(settings(2), 3, 2), 12));
}

#[test]
fn dwa_weighs_by_the_last_two_windows() {
    let settings = json!({"method": "dwa", "dwa_window": 2, "dwa_temperature": 1.0});
    let mut dwa = weighting(settings.clone(), 2, 1);
    assert!(!dwa.needs_head_grads());
    let step = |dwa: &mut Weighting, a: f64, b: f64| {
        let rows = [row(0, 1, a, &[]), row(1, 2, 2.0 * b, &[])];
        assert_known_beforehand(dwa, &rows)
    };
    // Means 0.7 and 0.8, then 0.7 and 0.4: ratios 1 and 1/2 from the fifth step on.
    for (a, b) in [(0.8, 0.9), (0.6, 0.7), (0.5, 0.5), (0.9, 0.3)] {
        assert_eq!(tasks(&step(&mut dwa, a, b)), [0.5, 0.5]);
    }
    let first = 1.0 / (1.0 + (-0.5f64).exp());
    let found = step(&mut dwa, 0.6, 0.2);
    assert_close(&tasks(&found), &[first, 1.0 - first]);
    assert_close(&found.rows, &[first, (1.0 - first) / 2.0]);
    assert_close(&[found.loss], &[first * 0.6 + (1.0 - first) * 0.2]);
    // Halfway through a window, and on in another process.
    let state = serde_json::to_string(dwa.memory()).unwrap();
    let mut other = weighting(settings, 2, 1);
    other.restore(serde_json::from_str(&state).unwrap());
    assert_eq!(dwa.memory(), other.memory());
    for (a, b) in [(0.4, 0.8), (0.3, 0.3)] {
        assert_eq!(step(&mut dwa, a, b), step(&mut other, a, b));
    }
    // Windows 0.7, 0.5 and 0.4, 0.5.
    let (a, b) = ((0.5f64 / 0.7).exp(), (0.5f64 / 0.4).exp());
    assert_close(
        &tasks(&step(&mut dwa, 0.3, 0.3)),
        &[a / (a + b), b / (a + b)],
    );
}

#[test]
fn gradients_that_are_not_finite_are_an_error() {
    for method in ["more", "pcgrad"] {
        let rows = [row(0, 1, 0.5, &[f64::NAN]), row(1, 1, 0.5, &[1.0])];
        let error = weighting(json!({"method": method}), 2, 1)
            .solve(&rows)
            .unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }
}
