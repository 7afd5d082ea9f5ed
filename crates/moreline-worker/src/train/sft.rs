//! `sft`.

use std::collections::BTreeMap;
use std::time::Instant;

use moreline_formats::ModelConfig;
use moreline_protocol::artifact;
use moreline_protocol::event::Level;
use moreline_protocol::rows::HistoryRow;
use moreline_protocol::spec::{Mixing, Sft};
use moreline_text::Tokenizer;
use serde_json::json;
use tch::{Kind, no_grad};

use super::checkpoint::{self, State};
use super::history::by_tenths;
use super::optimiser::Optimiser;
use super::order::{Length, Order};
use super::reward::check_length;
use super::tape::{Keep, Tape};
use super::weights::TrainWeights;
use crate::batch::{Packed, micro};
use crate::error::WorkerError;
use crate::labels::{self, Examples, LabelPlan, Labelled, Shape};
use crate::lm_head;
use crate::model::{Decoder, ExportHead, Exporter, Head, LoadedModel, compute_kind};
use crate::stage::context::{Context, Outcome, metrics, write_fed, write_rows};

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
    let kind = compute_kind(spec.precision);
    let model = LoadedModel::open(model_path, Head::Language, kind, context.device)?;
    check_length(&model.decoder.config, spec.max_length)?;
    let mut run = Run::new(context, spec, examples, model);
    let setup = started.elapsed().as_secs_f64();
    run.train()?;
    let work = started.elapsed().as_secs_f64() - setup;
    run.export(&tokenizer)?;
    let timings = [
        ("setup_s", setup),
        ("work_s", work),
        ("tokens_per_s", run.tokens_here as f64 / work),
    ];
    Ok(Outcome {
        metrics: run.metrics(),
        timings: timings.map(|(name, value)| (name.to_owned(), value)).into(),
    })
}

struct Run<'a> {
    context: &'a Context<'a>,
    spec: &'a Sft,
    examples: Examples,
    decoder: Decoder,
    weights: TrainWeights,
    optimiser: Optimiser,
    order: Order,
    history: Vec<HistoryRow>,
    tokens: u64,
    tokens_here: u64,
}

impl<'a> Run<'a> {
    fn new(
        context: &'a Context<'a>,
        spec: &'a Sft,
        examples: Examples,
        model: LoadedModel,
    ) -> Self {
        let (decoder, weights) =
            TrainWeights::new(model, compute_kind(spec.precision), spec.train_blocks);
        let length = spec
            .steps
            .map_or(Length::Epochs(spec.epochs), Length::Steps);
        let sizes = [examples.rows.len()];
        let order = Order::new(
            &sizes,
            Mixing::Proportional,
            spec.batch as usize,
            length,
            spec.seed,
        );
        let optimiser = Optimiser {
            lr: spec.lr,
            schedule: spec.schedule,
            warmup_ratio: spec.warmup_ratio,
            betas: spec.betas,
            eps: spec.eps,
            weight_decay: spec.weight_decay,
            clip: spec.clip,
            total: order.batches().len() as u64,
            taken: 0,
            bad: 0,
            skipped: 0,
        };
        Self {
            context,
            spec,
            examples,
            decoder,
            weights,
            optimiser,
            order,
            history: Vec::new(),
            tokens: 0,
            tokens_here: 0,
        }
    }

    fn train(&mut self) -> Result<(), WorkerError> {
        let start = self.resume()?;
        let batches = std::mem::take(&mut self.order).into_batches();
        let total: usize = batches.iter().map(Vec::len).sum();
        let mut done: usize = batches[..start].iter().map(Vec::len).sum();
        for (step, batch) in batches.iter().enumerate().skip(start) {
            let rows: Vec<usize> = batch.iter().map(|id| id.row).collect();
            self.step(step as u64, &rows)?;
            done += batch.len();
            self.context
                .events
                .progress("fine-tuning", done, total, "examples");
            let finished = step as u64 + 1;
            if finished.is_multiple_of(self.spec.checkpoint_every.max(1)) && done < total {
                self.save(finished)?;
            }
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<usize, WorkerError> {
        let partial = &self.context.job.partial_dir;
        let Some(state) = checkpoint::load(partial, &mut self.weights, &mut self.optimiser)? else {
            return Ok(0);
        };
        self.context
            .events
            .log(Level::Info, format!("going on after step {}", state.step));
        self.history = state.history;
        self.tokens = state.tokens;
        Ok(state.step as usize)
    }

    fn save(&self, step: u64) -> Result<(), WorkerError> {
        let state = State {
            step,
            taken: self.optimiser.taken,
            bad: self.optimiser.bad,
            skipped: self.optimiser.skipped,
            tokens: self.tokens,
            momentum: Vec::new(),
            history: self.history.clone(),
        };
        checkpoint::save(&self.context.job.partial_dir, &self.weights, &state)
    }

    fn step(&mut self, step: u64, rows: &[usize]) -> Result<(), WorkerError> {
        let sizes: Vec<usize> = rows
            .iter()
            .map(|&r| self.examples.rows[r].tokens.len())
            .collect();
        let labels: usize = rows.iter().map(|&r| self.examples.rows[r].count()).sum();
        let mut loss = 0.0;
        for range in micro::cut(&sizes, self.context.token_budget()) {
            loss += self.micro_batch(&rows[range], labels)?;
        }
        let applied = self.optimiser.apply(step, &mut self.weights)?;
        let tokens = sizes.iter().sum::<usize>() as u64;
        self.tokens += tokens;
        self.tokens_here += tokens;
        let values: BTreeMap<String, f64> = [
            ("loss", loss / labels as f64),
            ("grad_norm", applied.grad_norm),
            ("lr", applied.lr),
            ("tokens", tokens as f64),
        ]
        .into_iter()
        // JSON has no NaN: a skipped step has no loss.
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        self.context.events.scalars(step + 1, &values);
        self.history.push(HistoryRow {
            step: step + 1,
            values,
        });
        Ok(())
    }

    /// Forward and backward of one micro-batch; its summed loss. Gradients are
    /// those of the mean over the global batch's `labels`.
    fn micro_batch(&mut self, rows: &[usize], labels: usize) -> Result<f64, WorkerError> {
        let examples: Vec<&Labelled> = rows.iter().map(|&r| &self.examples.rows[r]).collect();
        let kind = compute_kind(self.spec.precision);
        let device = self.context.device;
        let groups = examples.iter().map(|example| &example.group);
        let packed = Packed::new(groups, &self.decoder.config, kind, device);
        let plan = LabelPlan::new(&packed, &examples, device);
        let tape = Tape::forward(&self.decoder, &self.weights, &packed, Keep::Graphs);
        let norm = self.weights.compute[self.decoder.norm_index()].shallow_clone();
        let x = tape.last.index_select(0, &plan.index).to_kind(Kind::Float);
        let normed = self.decoder.norm(&norm, &x);
        let head_index = self.decoder.head_index();
        let head_trained = self.weights.trainable(head_index);
        let head = no_grad(|| self.decoder.head_matrix(&self.weights.compute[head_index]));
        let found = lm_head::cross_entropy(
            &normed.detach().to_kind(kind),
            &head,
            &plan.labels,
            1.0 / labels as f64,
            head_trained,
        );
        if let Some(grad) = found.grad_head {
            self.weights.accumulate(head_index, grad.view([-1]));
        }
        let mut inputs = vec![&tape.last];
        let norm_trained = self.weights.trainable(self.decoder.norm_index());
        if norm_trained {
            inputs.push(&norm);
        }
        let grad_normed = found.grad_x.to_kind(Kind::Float);
        let mut grads = torch_ext_sys::grad(&[&normed], &[&grad_normed], &inputs)?;
        if norm_trained && let Some(grad) = grads.pop().flatten() {
            self.weights.accumulate(self.decoder.norm_index(), grad);
        }
        if let Some(grad_last) = grads.pop().flatten() {
            tape.backward(&self.decoder, &mut self.weights, &packed, grad_last)?;
        }
        Ok(found.loss)
    }

    fn export(&self, tokenizer: &Tokenizer) -> Result<(), WorkerError> {
        let dir = self.context.output(artifact::MODEL);
        std::fs::create_dir_all(&dir).map_err(|e| WorkerError::io("create", &dir, e))?;
        let exporter = Exporter {
            decoder: &self.decoder,
            tokenizer,
            precision: self.spec.precision,
        };
        exporter.write(&dir, &self.weights.master, ExportHead::Language)?;
        write_rows(&self.context.output(artifact::HISTORY), &self.history)?;
        write_fed(&self.context.output(artifact::FED), &self.examples.fed)
    }

    fn metrics(&self) -> moreline_protocol::event::Metrics {
        let losses = by_tenths(&self.history, "loss");
        metrics(json!({
            "steps": self.history.len(),
            "examples": self.examples.rows.len(),
            "dropped": self.examples.dropped,
            "truncated": self.examples.truncated,
            "skipped_steps": self.optimiser.skipped,
            "final_loss": losses.last(),
            "loss_by_tenths": losses,
            "tokens": self.tokens,
        }))
    }
}
