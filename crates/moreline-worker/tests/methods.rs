//! Ways to train: recomputed, partly frozen, through adapters, with further
//! losses. Each against plain training or a closed form.

use moreline_protocol::spec::{Lora, Method, Pooling, Precision, StageSpec, TrainReward};
use moreline_worker::batch::{Group, Packed};
use moreline_worker::loss::Ranking;
use moreline_worker::model::{Decoder, ExportHead, Exporter, Head, LoadedModel, stored_kind};
use moreline_worker::network;
use moreline_worker::train::step::{RewardCompute, RewardRow, StepOutcome};
use moreline_worker::train::tape::{Keep, Tape};
use moreline_worker::train::trained::Trained;
use moreline_worker::train::weighting::Weighting;
use moreline_worker::train::weights::TrainWeights;
use serde_json::json;
use tch::{Kind, Tensor, no_grad};
use torch_ext_sys::AdamW;

use crate::common::{device, golden_dir};
use crate::tiny::Bench;

/// A tied model with grouped keys, an untied one, one with biases, both kinds
/// of GPT-NeoX.
const TRAINED: [&str; 5] = [
    "llama-gqa-tied",
    "llama-mha-untied",
    "qwen2-bias",
    "pythia-parallel",
    "neox-sequential",
];

fn token(i: usize) -> u32 {
    ((i * 7919 + 31) % 300 + 3) as u32
}

/// Three rows of two tasks, one of them with three responses.
fn rows() -> Vec<RewardRow> {
    let sequence = |prompt: usize, tail: usize, salt: usize| -> Vec<u32> {
        let prompt = (0..prompt).map(|i| token(i + prompt));
        prompt.chain((0..tail).map(|i| token(i + salt))).collect()
    };
    let row = |task, sequences: &[Vec<u32>], scores: &[f64]| RewardRow {
        task,
        group: Group::share(sequences),
        scores: scores.to_vec(),
        prompts: Vec::new(),
    };
    vec![
        row(
            0,
            &[sequence(12, 9, 100), sequence(12, 5, 200)],
            &[1.0, 0.0],
        ),
        row(
            1,
            &[
                sequence(20, 4, 300),
                sequence(20, 11, 400),
                sequence(20, 6, 500),
            ],
            &[0.0, 2.0, 1.0],
        ),
        row(1, &[sequence(9, 14, 600), sequence(9, 3, 700)], &[0.0, 1.0]),
    ]
}

fn spec(method: Method) -> TrainReward {
    let table = json!({"kind": "train-reward", "model": "m", "data": ["a", "b"]});
    let StageSpec::TrainReward(mut spec) = serde_json::from_value(table).unwrap() else {
        unreachable!("the kind says so");
    };
    spec.method = method;
    spec
}

fn lora(targets: Option<&[&str]>) -> Lora {
    serde_json::from_value(json!({"rank": 4, "alpha": 6.0, "targets": targets})).unwrap()
}

fn open(name: &str) -> LoadedModel {
    let dir = golden_dir().join("models").join(name);
    let head = |hidden: usize| {
        let value = |i: usize| ((i * 37 + 11) % 41) as f32 / 100.0 - 0.2;
        Tensor::from_slice(&(0..hidden).map(value).collect::<Vec<f32>>())
    };
    LoadedModel::with_new_reward_head(&dir, Kind::Float, device(), &|c| head(c.hidden_size))
        .unwrap()
}

fn trained(name: &str, kind: Kind, what: &Trained<'_>) -> (Decoder, TrainWeights) {
    TrainWeights::new(open(name), kind, what).unwrap()
}

/// A step's settings; everything is computed at once unless said otherwise.
fn compute(decoder: &Decoder, kind: Kind) -> RewardCompute<'_> {
    RewardCompute {
        decoder,
        pooling: Pooling::Last,
        closed: true,
        token_budget: 100_000,
        kind,
        ranking: Ranking::default(),
        lm_loss: 0.0,
        recompute: None,
    }
}

fn gradients(
    compute: &RewardCompute<'_>,
    weights: &mut TrainWeights,
    method: Method,
) -> StepOutcome {
    let rows = rows();
    let batch: Vec<&RewardRow> = rows.iter().collect();
    let hidden = compute.decoder.config.hidden_size;
    let mut weighting = Weighting::new(&spec(method), 2, hidden);
    weights.clear_grads();
    compute.gradients(&batch, weights, &mut weighting).unwrap()
}

fn slots(weights: &TrainWeights) -> std::ops::Range<usize> {
    0..weights.master.len()
}

/// A slot's gradient, copied.
fn grad(weights: &TrainWeights, slot: usize) -> Option<Tensor> {
    weights.grad(slot).map(Tensor::copy)
}

fn same(a: &Option<Tensor>, b: &Option<Tensor>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.equal(b),
        (None, None) => true,
        _ => false,
    }
}

/// Largest difference relative to the largest value.
fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let size = b.abs().max().double_value(&[]).max(1e-12);
    (a - b).abs().max().double_value(&[]) / size
}

#[test]
fn recomputation_changes_no_bit() {
    for name in ["llama-gqa-tied", "pythia-parallel"] {
        for (kind, method) in [
            (Kind::Float, Method::Uniform),
            (Kind::BFloat16, Method::Uniform),
            (Kind::Float, Method::More),
        ] {
            let (decoder, mut weights) = trained(name, kind, &Trained::default());
            let found = |recompute, weights: &mut TrainWeights| {
                let compute = RewardCompute {
                    recompute,
                    token_budget: 60,
                    ..compute(&decoder, kind)
                };
                let loss = gradients(&compute, weights, method).weights.loss;
                let grads: Vec<_> = slots(weights).map(|slot| grad(weights, slot)).collect();
                (loss, grads)
            };
            let kept = found(None, &mut weights);
            assert!(kept.1.iter().all(Option::is_some));
            for every in [1, 2, 3, 9] {
                let again = found(Some(every), &mut weights);
                assert_eq!(kept.0, again.0);
                for (slot, (a, b)) in kept.1.iter().zip(&again.1).enumerate() {
                    assert!(same(a, b), "{name} {kind:?} every {every}: slot {slot}");
                }
            }
        }
    }
}

#[test]
fn frozen_parts_have_no_gradient_and_the_others_their_own() {
    for name in TRAINED {
        let (decoder, mut full) = trained(name, Kind::Float, &Trained::default());
        gradients(&compute(&decoder, Kind::Float), &mut full, Method::Uniform);
        let norm = decoder.norm_index();
        let only = |blocks, freeze_embedding| Trained {
            blocks,
            freeze_embedding,
            ..Trained::default()
        };
        let cases = [
            (only(Some(0), false), norm + 1),
            (only(Some(1), false), norm - 1),
            (only(Some(3), false), 1),
            (only(None, true), 1),
            (only(None, false), 0),
        ];
        for (what, lowest) in cases {
            for recompute in [None, Some(2)] {
                let (decoder, mut weights) = trained(name, Kind::Float, &what);
                let compute = RewardCompute {
                    recompute,
                    ..compute(&decoder, Kind::Float)
                };
                gradients(&compute, &mut weights, Method::Uniform);
                for slot in slots(&weights) {
                    let on = slot >= lowest;
                    assert_eq!(
                        weights.moments[slot].is_some(),
                        on,
                        "{name} {what:?} {slot}"
                    );
                    assert_eq!(weights.compute[slot].requires_grad(), on);
                    match weights.grad(slot) {
                        Some(found) => assert!(relative(found, full.grad(slot).unwrap()) < 1e-5),
                        None => assert!(!on, "{name} {what:?} {slot}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_step_leaves_frozen_parts_alone() {
    let what = Trained {
        blocks: Some(1),
        ..Trained::default()
    };
    let (decoder, mut weights) = trained("llama-gqa-tied", Kind::BFloat16, &what);
    let before: Vec<Tensor> = weights.compute.iter().map(Tensor::copy).collect();
    gradients(
        &compute(&decoder, Kind::BFloat16),
        &mut weights,
        Method::Uniform,
    );
    weights.step(&adamw(1e-2, 0.1), 1.0, true).unwrap();
    for slot in slots(&weights) {
        let moved = !weights.compute[slot].equal(&before[slot]);
        assert_eq!(moved, weights.trainable(slot), "{slot}");
        let master = weights.master[slot].kind();
        let fp32 = weights.trainable(slot) || slot >= decoder.norm_index();
        assert_eq!(master, if fp32 { Kind::Float } else { Kind::BFloat16 });
    }
}

fn adamw(lr: f64, weight_decay: f64) -> AdamW {
    AdamW {
        step: 1,
        lr,
        betas: [0.9, 0.999],
        weight_decay,
        eps: 1e-8,
    }
}

/// Without a gradient a step is decay alone: (1 - lr wd) w, or w itself.
#[test]
fn decay_takes_norms_and_biases_or_leaves_them() {
    for name in ["qwen2-bias", "pythia-parallel"] {
        for decay_norms in [true, false] {
            let (decoder, mut weights) = trained(name, Kind::Float, &Trained::default());
            let before: Vec<Tensor> = weights.master.iter().map(Tensor::copy).collect();
            weights.step(&adamw(0.1, 0.5), 1.0, decay_norms).unwrap();
            for (slot, segment) in decoder.segments.iter().enumerate() {
                for (offset, part) in segment.parts() {
                    let of = |flat: &Tensor| flat.narrow(0, offset, part.numel());
                    let decayed = decay_norms || part.shape.len() > 1;
                    let factor = if decayed { 0.95 } else { 1.0 };
                    let error = relative(&of(&weights.master[slot]), &(of(&before[slot]) * factor));
                    assert!(error < 1e-6, "{name} {decay_norms} {}", part.name);
                }
            }
        }
    }
}

/// Gives every adapter a B of its own, as training would.
fn fill(weights: &mut TrainWeights, first: usize) {
    tch::manual_seed(11);
    for slot in first..weights.master.len() {
        let random = weights.master[slot].randn_like() * 0.1;
        no_grad(|| weights.master[slot].copy_(&random));
    }
    weights.refresh();
}

fn with_masters(decoder: &Decoder, flats: Vec<Tensor>) -> (Decoder, TrainWeights) {
    let model = LoadedModel {
        decoder: decoder.clone(),
        flats,
        device: device(),
    };
    TrainWeights::new(model, Kind::Float, &Trained::default()).unwrap()
}

/// With G the gradient of the merged matrix: dA = scale Bᵀ G, dB = scale G Aᵀ.
#[test]
fn adapters_gradients_follow_from_those_of_the_merged_matrices() {
    let llama: [Option<&[&str]>; 4] = [
        None,
        Some(&["q", "v"]),
        Some(&["k", "up"]),
        Some(&["o", "gate", "down"]),
    ];
    let neox: [Option<&[&str]>; 3] = [None, Some(&["qkv"]), Some(&["o", "up", "down"])];
    for name in TRAINED {
        let is_neox = name.contains("neox") || name.contains("pythia");
        let choices: &[Option<&[&str]>] = if is_neox { &neox } else { &llama };
        for (targets, blocks) in choices.iter().flat_map(|t| [(t, None), (t, Some(2))]) {
            let lora = lora(*targets);
            let what = Trained {
                lora: Some(&lora),
                blocks,
                ..Trained::default()
            };
            let (decoder, mut weights) = trained(name, Kind::Float, &what);
            fill(&mut weights, decoder.segments.len());
            let outcome = gradients(
                &compute(&decoder, Kind::Float),
                &mut weights,
                Method::Uniform,
            );
            let (decoder, mut dense) = with_masters(&decoder, weights.export_flats(Kind::Float));
            let expected = gradients(&compute(&decoder, Kind::Float), &mut dense, Method::Uniform);
            for (a, b) in outcome
                .rewards
                .concat()
                .iter()
                .zip(expected.rewards.concat())
            {
                assert!((a - b).abs() < 1e-5, "{name} {targets:?}: {a} {b}");
            }
            compare_adapters(&decoder, &weights, &dense, &format!("{name} {targets:?}"));
        }
    }
}

fn compare_adapters(decoder: &Decoder, weights: &TrainWeights, dense: &TrainWeights, name: &str) {
    let (adapters, flats) = weights.adapters().unwrap();
    let scale = 6.0 / 4.0;
    for (number, (block, flat)) in adapters.blocks.iter().zip(flats).enumerate() {
        let found = weights.grad(decoder.segments.len() + number).unwrap();
        let segment = Decoder::FIRST_BLOCK + adapters.first + number;
        let (factors, grads) = (block.segment.split(flat), block.segment.split(found));
        let names: Vec<&str> = block
            .segment
            .parts()
            .map(|(_, p)| p.name.as_str())
            .collect();
        for i in (0..factors.len()).step_by(2) {
            let stem = names[i].trim_start_matches("base_model.model.");
            let matrix = stem.replace(".lora_A", "");
            let mut parts = decoder.segments[segment].parts();
            let (offset, part) = parts.find(|(_, part)| part.name == matrix).unwrap();
            let whole = dense.grad(segment).unwrap();
            let g = whole
                .narrow(0, offset, part.numel())
                .view(part.shape.as_slice());
            let (da, db) = (
                factors[i + 1].tr().matmul(&g) * scale,
                g.matmul(&factors[i].tr()) * scale,
            );
            assert!(relative(&grads[i], &da) < 1e-4, "{name}: A of {matrix}");
            assert!(relative(&grads[i + 1], &db) < 1e-4, "{name}: B of {matrix}");
        }
    }
    for slot in slots(weights) {
        let on = slot >= decoder.head_index();
        assert_eq!(weights.moments[slot].is_some(), on);
        assert_eq!(weights.grad(slot).is_some(), on);
    }
}

#[test]
fn a_new_adapter_changes_nothing_and_depends_on_the_seed() {
    for name in ["llama-gqa-tied", "pythia-parallel"] {
        let lora = lora(None);
        let adapted = |seed| {
            let what = Trained {
                lora: Some(&lora),
                seed,
                ..Trained::default()
            };
            trained(name, Kind::Float, &what)
        };
        let (decoder, mut weights) = adapted(1);
        let (plain, mut full) = trained(name, Kind::Float, &Trained::default());
        let found = gradients(
            &compute(&decoder, Kind::Float),
            &mut weights,
            Method::Uniform,
        );
        let expected = gradients(&compute(&plain, Kind::Float), &mut full, Method::Uniform);
        assert_eq!(found.rewards, expected.rewards);
        let a = weights.adapters().unwrap().1[1].copy();
        assert!(a.equal(&adapted(1).1.adapters().unwrap().1[1]));
        assert!(!a.equal(&adapted(2).1.adapters().unwrap().1[1]));
        // Uniform in ±1/√64: standard deviation 1/√(3 · 64).
        let block = &weights.adapters().unwrap().0.blocks[1];
        let first = block.segment.split(&a).remove(0);
        let deviation = first.square().mean(Kind::Float).sqrt().double_value(&[]);
        assert!(first.abs().max().double_value(&[]) <= 0.125);
        assert!((deviation - 0.0722).abs() < 0.01, "{deviation}");
    }
}

/// The step's objective changes along its gradient by the gradient's norm.
#[test]
fn every_loss_has_the_gradient_of_its_finite_difference() {
    for name in TRAINED {
        let (decoder, mut weights) = trained(name, Kind::Float, &Trained::default());
        let dir = golden_dir().join("models").join(name);
        let head = LoadedModel::lm_head(&dir, &decoder.config, device()).unwrap();
        assert_eq!(head.is_none(), decoder.config.tied);
        weights.add_lm_head(&decoder, head);
        for (margin, centring, lm_loss) in [
            (0.0, 0.0, 0.0),
            (0.7, 0.0, 0.0),
            (0.0, 0.3, 0.0),
            (0.4, 0.2, 0.5),
        ] {
            let compute = RewardCompute {
                ranking: Ranking {
                    margin,
                    centring,
                    ..Ranking::default()
                },
                lm_loss,
                token_budget: 60,
                ..compute(&decoder, Kind::Float)
            };
            let objective = |weights: &mut TrainWeights| {
                let found = gradients(&compute, weights, Method::Uniform);
                found.weights.loss + lm_loss * found.lm_loss.unwrap_or(0.0)
            };
            objective(&mut weights);
            let norm = weights.grad_norm();
            let direction: Vec<_> = slots(&weights).map(|slot| grad(&weights, slot)).collect();
            let mut moved = |by: f64| {
                for (slot, grad) in direction.iter().enumerate() {
                    let Some(grad) = grad else { continue };
                    let step = grad * (by / norm);
                    no_grad(|| {
                        let _ = weights.master[slot].g_add_(&step);
                    });
                }
                objective(&mut weights)
            };
            let step = 2e-3;
            let (up, down) = (moved(step), moved(-2.0 * step));
            moved(step);
            let slope = (up - down) / (2.0 * step);
            assert!(
                (slope - norm).abs() < 0.01 * norm,
                "{name} {margin} {centring} {lm_loss}: {slope} {norm}"
            );
        }
    }
}

/// The language-model loss of the tokens after the common beginning.
#[test]
fn the_language_model_loss_is_that_of_the_best_responses() {
    let name = "llama-mha-untied";
    let dir = golden_dir().join("models").join(name);
    let (decoder, mut weights) = trained(name, Kind::Float, &Trained::default());
    let head = LoadedModel::lm_head(&dir, &decoder.config, device()).unwrap();
    weights.add_lm_head(&decoder, head);
    let compute = RewardCompute {
        lm_loss: 1.0,
        ..compute(&decoder, Kind::Float)
    };
    let found = gradients(&compute, &mut weights, Method::More)
        .lm_loss
        .unwrap();
    let model = LoadedModel::open(&dir, Head::Language, Kind::Float, device()).unwrap();
    let (mut sum, mut count) = (0.0, 0);
    // Best response and length of the prompt of each row.
    for (row, (best, prompt)) in rows().iter().zip([(0, 12), (1, 20), (1, 9)]) {
        let path = row.group.path(best).into_iter();
        let tokens: Vec<u32> = path
            .flat_map(|s| row.group.spans[s].tokens.clone())
            .collect();
        let group = Group::unshared(std::slice::from_ref(&tokens));
        let packed = Packed::new([&group], &model.decoder.config, Kind::Float, device());
        let x = network::hidden(&model.decoder, &model.flats, &packed);
        let x = model
            .decoder
            .norm(&model.flats[model.decoder.norm_index()], &x);
        let head = model
            .decoder
            .head_matrix(&model.flats[model.decoder.head_index()]);
        let logprobs = x.matmul(&head.tr()).log_softmax(-1, Kind::Float);
        for (position, &token) in tokens.iter().enumerate().skip(prompt) {
            sum -= logprobs.double_value(&[position as i64 - 1, i64::from(token)]);
            count += 1;
        }
    }
    assert!((found - sum / f64::from(count)).abs() < 1e-4, "{found}");
}

/// Written in several files and read back, adapters merged: the same numbers.
#[test]
fn merged_and_sharded_exports_compute_what_training_did() {
    let bench = Bench::new();
    let tokenizer = moreline_text::Tokenizer::load(&bench.path("model")).unwrap();
    for name in ["llama-gqa-tied", "pythia-parallel"] {
        let dir = golden_dir().join("models").join(name);
        let model = LoadedModel::open(&dir, Head::Language, Kind::Float, device()).unwrap();
        let lora = lora(None);
        let what = Trained {
            lora: Some(&lora),
            ..Trained::default()
        };
        let (decoder, mut weights) = TrainWeights::new(model, Kind::Float, &what).unwrap();
        fill(&mut weights, decoder.segments.len());
        let tokens: Vec<u32> = (0..40).map(token).collect();
        let group = Group::unshared(std::slice::from_ref(&tokens));
        let packed = Packed::new([&group], &decoder.config, Kind::Float, device());
        let expected = Tape::forward(&decoder, &weights, &packed, Keep::Inputs(2)).last;
        for (precision, tolerance) in [(Precision::Fp32, 1e-4), (Precision::Bf16, 0.1)] {
            let out = bench.path(&format!("{name}-{precision:?}"));
            std::fs::create_dir(&out).unwrap();
            let exporter = Exporter {
                decoder: &decoder,
                tokenizer: &tokenizer,
                precision,
                max_shard_bytes: 100_000,
            };
            let flats = weights.export_flats(stored_kind(precision));
            exporter.write(&out, &flats, ExportHead::Language).unwrap();
            assert!(out.join("model.safetensors.index.json").exists());
            assert!(out.join("generation_config.json").exists());
            let config = std::fs::read_to_string(out.join("config.json")).unwrap();
            let dtype = match precision {
                Precision::Fp32 => "\"dtype\": \"float32\"",
                Precision::Bf16 => "\"dtype\": \"bfloat16\"",
            };
            assert!(config.contains(dtype), "{config}");
            let read = LoadedModel::open(&out, Head::Language, Kind::Float, device()).unwrap();
            let found = network::hidden(&read.decoder, &read.flats, &packed);
            assert!(
                relative(&found, &expected) < tolerance,
                "{name} {precision:?}"
            );
        }
    }
}

#[test]
fn a_target_of_the_other_architecture_is_an_error() {
    for (name, target) in [("llama-gqa-tied", "qkv"), ("pythia-parallel", "gate")] {
        let lora = lora(Some(&[target]));
        let what = Trained {
            lora: Some(&lora),
            ..Trained::default()
        };
        let error = TrainWeights::new(open(name), Kind::Float, &what).unwrap_err();
        assert!(error.to_string().contains(target), "{error}");
        assert!(error.hint().unwrap().contains("`down`"));
    }
}
