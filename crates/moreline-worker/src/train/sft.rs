//! `sft`.

use std::time::Instant;

use moreline_formats::ModelConfig;
use moreline_protocol::event::Metrics;
use moreline_protocol::spec::{EVALUATE_ON, Sft};
use moreline_text::Tokenizer;
use serde_json::json;
use tch::{Kind, no_grad};

use super::held_out::evaluate_examples;
use super::history::by_tenths;
use super::optimiser::Optimiser;
use super::order::{Length, Mix, Order, RowId};
use super::reward::check_length;
use super::session::{Core, Gradients, Session, Task, Written};
use super::tape::{Keep, Tape};
use super::trained::Trained;
use super::watch::Figures;
use super::weights::TrainWeights;
use crate::batch::{Packed, micro};
use crate::error::WorkerError;
use crate::labels::{self, Examples, LabelPlan, Labelled, Shape};
use crate::lm_head::{self, Labels};
use crate::model::{ExportHead, Head, LoadedModel, compute_kind};
use crate::stage::context::{Context, Outcome, metrics};

/// Fine-tunes a language model: `model/`, `history.jsonl`, `fed.jsonl`.
///
/// # Errors
/// Unreadable inputs, training that diverges.
pub fn sft(context: &Context<'_>, spec: &Sft) -> Result<Outcome, WorkerError> {
    let started = Instant::now();
    let model_path = &context.input("model")?.path;
    let tokenizer = Tokenizer::load(model_path)?;
    tokenizer.check_fits(ModelConfig::load(model_path)?.vocab_size)?;
    let shape = Shape {
        template: spec.template,
        count: spec.loss_on,
        max_length: spec.max_length as usize,
        truncation: spec.truncation,
    };
    let examples = labels::read(context, &tokenizer, shape)?;
    let held_out = match spec.evaluate_on {
        Some(_) => labels::read_inputs(context, &tokenizer, shape, EVALUATE_ON)?,
        None => Examples::default(),
    };
    let kind = compute_kind(spec.precision);
    // The masters are fp32 whatever the compute precision.
    let model = LoadedModel::open(model_path, Head::Language, Kind::Float, context.device)?;
    check_length(&model.decoder.config, spec.max_length)?;
    let (decoder, weights) = TrainWeights::new(model, kind, &Trained::from(spec))?;
    let core = Core {
        context,
        tokenizer: &tokenizer,
        decoder,
        weights,
        precision: spec.precision,
        written: Written::from(spec),
    };
    let order = order(spec, examples.rows.len());
    let optimiser = Optimiser::from((spec, order.batches().len() as u64));
    let task = SftTask {
        examples,
        held_out,
        settings: Settings::from(spec),
    };
    let mut session = Session::new(core, task, optimiser, order, spec.into());
    let setup = started.elapsed().as_secs_f64();
    session.train()?;
    session.export(&session.task.examples.fed)?;
    Ok(Outcome {
        metrics: found(&session),
        timings: session.timings(setup),
    })
}

fn order(spec: &Sft, examples: usize) -> Order {
    let length = spec
        .steps
        .map_or(Length::Epochs(spec.epochs), Length::Steps);
    let batch = spec.batch as usize;
    Order::new(
        &[(0..examples).collect()],
        &Mix::Proportional,
        batch,
        length,
        spec.seed,
    )
}

/// What a micro-batch needs to know.
#[derive(Clone, Copy)]
struct Settings {
    keep: Keep,
    smoothing: f64,
}

impl From<&Sft> for Settings {
    fn from(spec: &Sft) -> Self {
        let every = spec.recompute_every;
        Self {
            keep: every.map_or(Keep::Graphs, |every| Keep::Inputs(every as usize)),
            smoothing: spec.label_smoothing,
        }
    }
}

/// What fine-tuning adds to the loop.
struct SftTask {
    examples: Examples,
    held_out: Examples,
    settings: Settings,
}

impl Task for SftTask {
    const PHASE: (&'static str, &'static str) = ("fine-tuning", "examples");

    fn gradients(
        &mut self,
        core: &mut Core<'_>,
        batch: &[RowId],
    ) -> Result<Gradients, WorkerError> {
        let rows: Vec<&Labelled> = batch.iter().map(|id| &self.examples.rows[id.row]).collect();
        let sizes: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
        let labels: usize = rows.iter().map(|row| row.count()).sum();
        let mut loss = 0.0;
        for range in micro::cut(&sizes, core.context.token_budget()) {
            loss += micro_batch(core, self.settings, &rows[range], labels)?;
        }
        Ok(Gradients {
            values: [("loss".to_owned(), loss / labels as f64)].into(),
            tokens: sizes.iter().sum::<usize>() as u64,
            pairs: 0,
            took: Vec::new(),
        })
    }

    fn evaluate(&self, core: &Core<'_>) -> Result<Figures, WorkerError> {
        evaluate_examples(core, &self.held_out)
    }

    fn head(&self) -> ExportHead<'_> {
        ExportHead::Language
    }
}

/// Forward and backward of one micro-batch; its summed loss. Gradients are
/// those of the mean over the global batch's `labels`.
fn micro_batch(
    core: &mut Core<'_>,
    settings: Settings,
    examples: &[&Labelled],
    labels: usize,
) -> Result<f64, WorkerError> {
    let (kind, device) = (core.kind(), core.context.device);
    let groups = examples.iter().map(|example| &example.group);
    let packed = Packed::new(groups, &core.decoder.config, kind, device);
    let plan = LabelPlan::new(&packed, examples, device);
    let tape = Tape::forward(&core.decoder, &core.weights, &packed, settings.keep);
    let norm = core.weights.compute[core.decoder.norm_index()].shallow_clone();
    let x = tape.last.index_select(0, &plan.index).to_kind(Kind::Float);
    let normed = core.decoder.norm(&norm, &x);
    let head_index = core.decoder.head_index();
    let head = no_grad(|| core.decoder.head_matrix(&core.weights.compute[head_index]));
    let given = Labels {
        tokens: &plan.labels,
        smoothing: settings.smoothing,
    };
    let wants_head = core.weights.trainable(head_index);
    let input = normed.detach().to_kind(kind);
    let found = lm_head::cross_entropy(&input, &head, given, 1.0 / labels as f64, wants_head);
    if let Some(grad) = found.grad_head {
        core.weights.accumulate(head_index, &grad.view([-1]));
    }
    let ends = vec![(normed, found.grad_x.to_kind(Kind::Float))];
    tape.backward_from(&core.decoder, &mut core.weights, &packed, ends, &norm)?;
    Ok(found.loss)
}

/// The stage's metrics.
fn found(session: &Session<'_, SftTask>) -> Metrics {
    let losses = by_tenths(&session.history, "loss");
    let examples = &session.task.examples;
    let mut found = metrics(json!({
        "steps": session.steps_taken(),
        "examples": examples.rows.len(),
        "dropped": examples.dropped,
        "truncated": examples.truncated,
        "skipped_steps": session.optimiser.skipped,
        "final_loss": losses.last(),
        "loss_by_tenths": losses,
        "tokens": session.tokens,
    }));
    found.extend(session.evaluation());
    found
}
