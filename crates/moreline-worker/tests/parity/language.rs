//! The language-model path: perplexity's log-probabilities, and the gradient
//! that fine-tuning takes, through the whole stage.

use std::path::Path;
use std::sync::{Arc, Mutex};

use moreline_formats::WeightStore;
use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::rows::FedRow;
use moreline_worker::batch::{Group, micro};
use moreline_worker::evaluate::sequence_logprobs;
use moreline_worker::labels::Labelled;
use moreline_worker::model::{Head, LoadedModel};
use moreline_worker::stage::{self, context::Events};
use proptest::prelude::*;
use serde_json::json;
use tch::{Kind, Tensor, no_grad};

use super::TOLERANCE;
use super::forest::{budget, cases, groups, model};
use super::reference::{Reference, assert_close};
use crate::common::{device, golden_dir};
use crate::tiny::{Bench, input, read_rows};

fn check_perplexity(name: &str, sequences: &[Vec<u32>], starts: &[f64], budget: usize) {
    tch::set_num_threads(1);
    let dir = golden_dir().join("models").join(name);
    let reference = Reference::open(&dir);
    let model = LoadedModel::open(&dir, Head::Language, Kind::Float, device()).unwrap();
    let labelled = |(row, (tokens, start)): (usize, (&Vec<u32>, &f64))| Labelled {
        set: 0,
        row,
        group: Group::share(std::slice::from_ref(tokens)),
        tokens: tokens.clone(),
        first: 1 + (start * (tokens.len() - 1) as f64) as usize,
    };
    let long = sequences.iter().filter(|tokens| tokens.len() > 1);
    let rows: Vec<Labelled> = long
        .zip(starts.iter().cycle())
        .enumerate()
        .map(labelled)
        .collect();
    let sizes: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
    let mut found = Vec::new();
    for run in micro::cut(&sizes, budget) {
        found.extend(sequence_logprobs(
            &model,
            &rows[run].iter().collect::<Vec<_>>(),
        ));
    }
    for (row, found) in rows.iter().zip(found) {
        let all = no_grad(|| reference.logprobs(&row.tokens));
        let counted = all.narrow(0, row.first as i64 - 1, row.count() as i64);
        let sum = counted.sum(Kind::Double);
        assert_close(&Tensor::from(found), &sum, TOLERANCE, "log-probability");
    }
}

/// Plain gradient descent out of AdamW: with an epsilon far above every entry,
/// a step is `lr / eps` times the gradient.
const EPS: f64 = 1e6;
const STEP: f64 = 1e3;

/// Prompts and responses of printable characters.
fn examples() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = "[a-z]([a-z ]{0,30}[a-z])?";
    prop::collection::vec((text, text), 1..=5)
}

/// A row as it is to be fed.
fn text((prompt, answer): &(String, String)) -> String {
    format!("\n\nHuman: {prompt}\n\nAssistant: {answer}</s>")
}

/// The byte tokenizer's ids of a text `...</s>`.
fn ids(text: &str) -> Vec<u32> {
    let bytes = text[..text.len() - "</s>".len()].bytes();
    bytes.map(|byte| u32::from(byte) + 3).chain([2]).collect()
}

/// Fine-tunes for one step on all rows, in this process; what was fed.
fn fine_tune(bench: &Bench, model: &Path, rows: &[(String, String)], budget: u32) -> Vec<FedRow> {
    let row = |(prompt, answer): &(String, String)| json!({"prompt": prompt, "answer": answer});
    let path = bench.rows("rows.jsonl", &rows.iter().map(row).collect::<Vec<_>>());
    let spec = json!({
        "kind": "sft", "model": "base", "data": "rows", "template": "human-assistant",
        "steps": 1, "batch": rows.len(), "lr": EPS * STEP, "eps": EPS, "betas": [0.0, 0.0],
        "clip": 1e30, "schedule": "constant", "warmup_ratio": 0.0, "max_length": 128,
        "precision": "fp32", "loss_on": "response",
    });
    let inputs = vec![
        input("model", "base", ArtifactType::LanguageModel, model),
        input("data", "rows", ArtifactType::Prompts, &path),
    ];
    let mut job = bench.job("tuned", spec, inputs);
    job.resources.token_budget = budget;
    let told = Told::default();
    let succeeded = stage::run(&job, &Events::new(Box::new(told.clone())));
    let told = told.0.lock().unwrap();
    assert!(succeeded, "{}", String::from_utf8_lossy(&told));
    read_rows(&job.output_dir.join("fed.jsonl"))
}

/// Events, kept for when something fails.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn check_fine_tuning(name: &str, rows: &[(String, String)], budget: u32) {
    tch::set_num_threads(1);
    let bench = Bench::new();
    let model = bench.model_like(name, "base");
    let fed = fine_tune(&bench, &model, rows, budget);
    for (fed, row) in fed.iter().zip(rows) {
        assert_eq!(fed.text, text(row));
    }
    let reference = Reference::open(&model);
    let mut counted = Vec::new();
    for row in rows {
        let all = reference.logprobs(&ids(&text(row)));
        // The space before the response, the response and the end token.
        let labels = row.1.len() as i64 + 2;
        counted.push(all.narrow(0, all.size()[0] - labels, labels));
    }
    (-Tensor::cat(&counted, 0).mean(Kind::Double)).backward();
    let before = WeightStore::open(&model).unwrap();
    let after = WeightStore::open(&bench.path("tuned/model")).unwrap();
    let read = |store: &WeightStore, name: &str| {
        Tensor::from_slice(&store.read(name).unwrap().data.into_f32()).to_kind(Kind::Double)
    };
    for info in before.names() {
        let found = (read(&before, &info.name) - read(&after, &info.name)) / STEP;
        reference.assert_gradient(&info.name, &found, TOLERANCE);
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn perplexity_equals_one_sequence_at_a_time(
        name in model(),
        groups in groups(),
        starts in prop::collection::vec(0.0..1.0f64, 1..5),
        budget in budget(),
    ) {
        check_perplexity(name, &groups.concat(), &starts, budget);
    }

    #[test]
    fn fine_tuning_equals_one_sequence_at_a_time(
        name in model(), rows in examples(), budget in 1..400u32,
    ) {
        check_fine_tuning(name, &rows, budget);
    }
}
