//! Ten steps of reward training against the published functions
//! (`tests/golden/train.md`), packed, prefix-shared, in several micro-batches
//! and with recomputation.

use moreline_protocol::spec::{
    Method, Normalize, Pooling, Schedule, Solver, StageSpec, TrainReward,
};
use moreline_worker::batch::Group;
use moreline_worker::loss::Ranking;
use moreline_worker::model::LoadedModel;
use moreline_worker::train::optimiser::Optimiser;
use moreline_worker::train::schedule::LearningRate;
use moreline_worker::train::step::{RewardCompute, RewardRow};
use moreline_worker::train::trained::Trained;
use moreline_worker::train::weighting::Weighting;
use moreline_worker::train::weights::TrainWeights;
use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::common::{device, golden_dir};

#[derive(Deserialize)]
struct Golden {
    model: String,
    steps: Vec<Vec<Pair>>,
    head0: Vec<f32>,
    adamw: AdamW,
    clip: f64,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Pair {
    chosen: Vec<u32>,
    rejected: Vec<u32>,
}

#[derive(Deserialize)]
struct AdamW {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

#[derive(Deserialize)]
struct Run {
    method: String,
    normalize: String,
    alpha: f64,
    steps: Vec<Step>,
    head_final: Vec<f64>,
}

#[derive(Deserialize)]
struct Step {
    loss: f64,
    grad_norm: f64,
    lambda: Vec<f64>,
    rewards: Vec<Vec<f64>>,
}

fn close(found: f64, expected: f64, relative: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(0.1);
    assert!(
        error < relative,
        "{what}: {found} is not {expected} (off by {error:.1e})"
    );
}

fn spec(run: &Run) -> TrainReward {
    let table = serde_json::json!({"kind": "train-reward", "model": "m", "data": ["a", "b"], "alpha": run.alpha});
    let StageSpec::TrainReward(mut spec) = serde_json::from_value(table).unwrap() else {
        unreachable!("the kind says so");
    };
    spec.method = if run.method == "more" {
        Method::More
    } else {
        Method::Uniform
    };
    spec.normalize =
        serde_json::from_value(run.normalize.clone().into()).unwrap_or(Normalize::None);
    spec.solver = Solver::FrankWolfe;
    spec
}

fn check(golden: &Golden, run: &Run, token_budget: usize, recompute: Option<usize>) {
    let name = format!(
        "{} {} {} budget {token_budget} recompute {recompute:?}",
        golden.model, run.method, run.normalize
    );
    let dir = golden_dir().join("models").join(&golden.model);
    let head = Tensor::from_slice(&golden.head0);
    let model =
        LoadedModel::with_new_reward_head(&dir, Kind::Float, device(), &|_| head.shallow_clone())
            .unwrap();
    let everything = Trained::default();
    let (decoder, mut weights) = TrainWeights::new(model, Kind::Float, &everything).unwrap();
    let mut weighting = Weighting::new(&spec(run), 5, golden.head0.len());
    let mut optimiser = Optimiser {
        rate: LearningRate {
            peak: golden.adamw.lr,
            schedule: Schedule::Constant,
            warmup: 0,
            decay: 0,
            total: 10,
        },
        betas: golden.adamw.betas,
        eps: golden.adamw.eps,
        weight_decay: golden.adamw.weight_decay,
        decay_norms: true,
        clip: golden.clip,
        taken: 0,
        bad: 0,
        skipped: 0,
    };
    let compute = RewardCompute {
        decoder: &decoder,
        pooling: Pooling::Last,
        closed: true,
        token_budget,
        kind: Kind::Float,
        ranking: Ranking::default(),
        lm_loss: 0.0,
        recompute,
    };
    for (number, (pairs, expected)) in golden.steps.iter().zip(&run.steps).enumerate() {
        let row = |(task, pair): (usize, &Pair)| RewardRow {
            task,
            group: Group::share(&[pair.chosen.clone(), pair.rejected.clone()]),
            scores: vec![1.0, 0.0],
        };
        let rows: Vec<RewardRow> = pairs.iter().enumerate().map(row).collect();
        let batch: Vec<&RewardRow> = rows.iter().collect();
        let outcome = compute
            .gradients(&batch, &mut weights, &mut weighting)
            .unwrap();
        let applied = optimiser.apply(number as u64, &mut weights).unwrap();
        // Rounding grows from step to step through Adam's division.
        let tolerance = if number < 3 { 1e-4 } else { 1e-3 };
        let place = |what: &str| format!("{name}, step {number}, {what}");
        close(
            outcome.weights.loss,
            expected.loss,
            tolerance,
            &place("loss"),
        );
        close(
            applied.grad_norm,
            expected.grad_norm,
            tolerance,
            &place("gradient norm"),
        );
        for task in 0..5 {
            let weight = outcome.weights.tasks[task].unwrap();
            close(
                weight,
                expected.lambda[task],
                tolerance * 10.0,
                &place("weight"),
            );
            for (found, wanted) in outcome.rewards[task].iter().zip(&expected.rewards[task]) {
                close(*found, *wanted, tolerance, &place("reward"));
            }
        }
    }
    let head = Vec::<f32>::try_from(&weights.master[decoder.head_index()]).unwrap();
    for (found, wanted) in head.iter().zip(&run.head_final) {
        close(
            f64::from(*found),
            *wanted,
            1e-3,
            &format!("{name}, final head"),
        );
    }
}

#[test]
fn ten_steps_equal_the_published_loop() {
    for file in ["train.llama-gqa-tied.json", "train.pythia-parallel.json"] {
        let text = std::fs::read_to_string(golden_dir().join(file)).unwrap();
        let golden: Golden = serde_json::from_str(&text).unwrap();
        for run in &golden.runs {
            // All at once; and a few micro-batches, recomputed where MORE must wait.
            for (token_budget, recompute) in [(100_000, None), (70, None), (70, Some(2))] {
                check(&golden, run, token_budget, recompute);
            }
        }
    }
}
