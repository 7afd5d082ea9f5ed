//! The reward path: rewards, losses and the gradient of every parameter.

use moreline_protocol::spec::{Method, Pooling, StageSpec, TrainReward};
use moreline_worker::batch::Group;
use moreline_worker::loss::Ranking;
use moreline_worker::model::layout::Segment;
use moreline_worker::model::{Decoder, LoadedModel};
use moreline_worker::train::step::{RewardCompute, RewardRow, StepOutcome};
use moreline_worker::train::trained::Trained;
use moreline_worker::train::weighting::Weighting;
use moreline_worker::train::weights::TrainWeights;
use proptest::prelude::*;
use tch::{Kind, Tensor};

use super::TOLERANCE;
use super::forest::{budget, cases, groups, model};
use super::reference::{Reference, assert_close};
use crate::common::{device, golden_dir};

const HEAD: &str = "score.weight";

/// The sequences of a row and their scores.
type Row = (Vec<Vec<u32>>, Vec<f64>);

/// A global batch: each row's sequences and their scores, ties among them.
#[derive(Debug, Clone)]
struct Batch {
    rows: Vec<Row>,
}

fn batch() -> impl Strategy<Value = Batch> {
    let scored = |sequences: Vec<Vec<u32>>| {
        let scores = prop::collection::vec((0..3u8).prop_map(f64::from), sequences.len());
        (Just(sequences), scores)
    };
    let rows =
        groups().prop_flat_map(move |groups| groups.into_iter().map(scored).collect::<Vec<_>>());
    rows.prop_map(|rows| Batch { rows })
}

/// How a batch is computed.
#[derive(Debug, Clone, Copy)]
struct Setting {
    model: &'static str,
    pooling: Pooling,
    closed: bool,
    /// Methods that weigh head gradients keep all micro-batches until that is done.
    method: Method,
    /// Blocks computed again at a time on the way back.
    recompute: Option<usize>,
    budget: usize,
}

fn setting() -> impl Strategy<Value = Setting> {
    let pooling =
        prop::sample::select(&[Pooling::Last, Pooling::Eos, Pooling::Mean, Pooling::Max][..]);
    let method =
        prop::sample::select(&[Method::Uniform, Method::More, Method::Pcgrad, Method::Dwa][..]);
    let recompute = prop_oneof![Just(None), (1..=3usize).prop_map(Some)];
    let parts = (model(), pooling, any::<bool>(), method, recompute, budget());
    parts.prop_map(
        |(model, pooling, closed, method, recompute, budget)| Setting {
            model,
            pooling,
            closed,
            method,
            recompute,
            budget,
        },
    )
}

fn head() -> Tensor {
    let value = |i: i64| ((i * 37 + 11) % 64) as f32 / 640.0 - 0.05;
    Tensor::from_slice(&(0..64).map(value).collect::<Vec<_>>())
}

fn spec(method: Method) -> TrainReward {
    let table = serde_json::json!({"kind": "train-reward", "model": "m", "data": ["a", "b"]});
    let StageSpec::TrainReward(mut spec) = serde_json::from_value(table).unwrap() else {
        unreachable!("the kind says so");
    };
    spec.method = method;
    spec
}

/// The worker's outcome and its gradients, one flat tensor per segment.
fn computed(batch: &Batch, setting: Setting) -> (Decoder, StepOutcome, Vec<Tensor>) {
    let dir = golden_dir().join("models").join(setting.model);
    let model =
        LoadedModel::with_new_reward_head(&dir, Kind::Float, device(), &|_| head()).unwrap();
    let (decoder, mut weights) =
        TrainWeights::new(model, Kind::Float, &Trained::default()).unwrap();
    let mut weighting = Weighting::new(&spec(setting.method), 2, decoder.config.hidden_size);
    let compute = RewardCompute {
        decoder: &decoder,
        pooling: setting.pooling,
        closed: setting.closed,
        token_budget: setting.budget,
        kind: Kind::Float,
        ranking: Ranking::default(),
        lm_loss: 0.0,
        recompute: setting.recompute,
    };
    let row = |(task, (sequences, scores)): (usize, &Row)| RewardRow {
        task: task % 2,
        group: Group::share(sequences),
        scores: scores.clone(),
    };
    let rows: Vec<RewardRow> = batch.rows.iter().enumerate().map(row).collect();
    let outcome = compute
        .gradients(
            &rows.iter().collect::<Vec<_>>(),
            &mut weights,
            &mut weighting,
        )
        .unwrap();
    let gradient = |(slot, segment): (usize, &Segment)| match weights.grad(slot) {
        Some(grad) => grad.copy(),
        None => Tensor::zeros([segment.numel()], (Kind::Float, device())),
    };
    let grads = decoder.segments.iter().enumerate().map(gradient).collect();
    (decoder, outcome, grads)
}

/// The pooled embedding `[H]` of a sequence, and for the maximum how far the
/// second largest entry is at least: two that are equal to rounding have no
/// gradient to compare.
fn pooled(hidden_lh: &Tensor, setting: Setting) -> (Tensor, f64) {
    let length = hidden_lh.size()[0];
    match setting.pooling {
        Pooling::Last if setting.closed && length > 1 => (hidden_lh.get(length - 2), 1.0),
        Pooling::Last | Pooling::Eos => (hidden_lh.get(length - 1), 1.0),
        Pooling::Mean => {
            let sum = hidden_lh.sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
            (sum / length as f64, 1.0)
        }
        Pooling::Max => {
            let (top, _) = hidden_lh.detach().topk(length.min(2), 0, true, true);
            let gap = match length {
                1 => 1.0,
                _ => (top.get(0) - top.get(1)).min().double_value(&[]),
            };
            (hidden_lh.max_dim(0, false).0, gap)
        }
    }
}

/// Rewards of each row, one sequence at a time; and the smallest gap.
fn reference_rewards(
    reference: &Reference,
    batch: &Batch,
    setting: Setting,
) -> (Vec<Vec<Tensor>>, f64) {
    let mut smallest = f64::INFINITY;
    let mut reward = |sequence: &Vec<u32>| {
        let (embedding, gap) = pooled(&reference.states(sequence).hidden, setting);
        smallest = smallest.min(gap);
        embedding.dot(reference.parameter(HEAD))
    };
    let rows = batch.rows.iter();
    let rewards = rows.map(|(row, _)| row.iter().map(&mut reward).collect());
    (rewards.collect(), smallest)
}

/// Each row's sum of -log sigmoid over its decided pairs, and their number.
fn reference_losses(rewards: &[Vec<Tensor>], batch: &Batch) -> Vec<(Option<Tensor>, usize)> {
    let of_row = |(rewards, (_, scores)): (&Vec<Tensor>, &Row)| {
        let mut sum: Option<Tensor> = None;
        let mut pairs = 0;
        for (better, high) in rewards.iter().enumerate() {
            for (worse, low) in rewards.iter().enumerate() {
                if scores[better] > scores[worse] {
                    let loss = -(high - low).sigmoid().log();
                    sum = Some(sum.map_or_else(|| loss.shallow_clone(), |sum| sum + &loss));
                    pairs += 1;
                }
            }
        }
        (sum, pairs)
    };
    rewards.iter().zip(&batch.rows).map(of_row).collect()
}

fn check(batch: &Batch, setting: Setting) -> Result<(), TestCaseError> {
    tch::set_num_threads(1);
    let mut reference = Reference::open(&golden_dir().join("models").join(setting.model));
    reference.put(HEAD, &head());
    let (rewards, gap) = reference_rewards(&reference, batch, setting);
    prop_assume!(gap > 1e-5);
    let losses = reference_losses(&rewards, batch);
    let (decoder, outcome, grads) = computed(batch, setting);
    let found: Vec<f64> = outcome.rewards.concat();
    let all: Vec<&Tensor> = rewards.iter().flatten().collect();
    let expected = Tensor::stack(&all, 0);
    assert_close(&Tensor::from_slice(&found), &expected, TOLERANCE, "rewards");
    let pairs: usize = losses.iter().map(|(_, pairs)| pairs).sum();
    let mut total: Option<Tensor> = None;
    for (row, (loss, count)) in losses.into_iter().enumerate() {
        let found = &outcome.rows[row];
        prop_assert_eq!(found.pairs, count);
        let Some(loss) = loss else { continue };
        assert_close(&Tensor::from(found.loss), &loss, TOLERANCE, "loss");
        // MORE's own weights are compared with the published ones elsewhere.
        let factor = match setting.method {
            Method::Uniform => 1.0 / pairs as f64,
            _ => outcome.weights.rows[row],
        };
        let share = loss * factor;
        total = Some(total.map_or_else(|| share.shallow_clone(), |sum| sum + &share));
    }
    if let Some(total) = total {
        total.backward();
    }
    for (segment, flat) in decoder.segments.iter().zip(&grads) {
        for (offset, part) in segment.parts() {
            let found = flat.narrow(0, offset, part.numel());
            reference.assert_gradient(&part.name, &found, TOLERANCE);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn reward_training_equals_one_sequence_at_a_time(batch in batch(), setting in setting()) {
        check(&batch, setting)?;
    }
}
