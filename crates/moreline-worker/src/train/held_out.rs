//! Evaluation while training, on sets that nothing is learnt from.

use moreline_protocol::spec::{EVALUATE_ON, Pairs};
use tch::{Kind, Tensor, no_grad};

use super::session::Core;
use super::step::RewardCompute;
use super::tape::{Keep, Tape};
use super::watch::Figures;
use crate::batch::{Group, Packed, micro};
use crate::error::WorkerError;
use crate::evaluate::{Compared, Reader, Row};
use crate::head::{PoolPlan, by_group, rewards, to_vec};
use crate::labels::{Examples, LabelPlan, Labelled};
use crate::lm_head::log_probabilities;
use crate::stage::context::Context;
use crate::text::RewardText;
use moreline_text::Tokenizer;

/// Bins of the expected calibration error.
const BINS: usize = 10;

/// Preference sets with their names.
#[derive(Debug, Default)]
pub(super) struct HeldOutPairs {
    sets: Vec<(String, Vec<Row>)>,
}

impl HeldOutPairs {
    /// Reads the sets of `evaluate_on`, every row of which takes part, as in an
    /// `evaluate-reward` stage.
    ///
    /// # Errors
    /// Unreadable rows, a set without a decided pair.
    pub(super) fn read(
        context: &Context<'_>,
        tokenizer: &Tokenizer,
        text: &RewardText,
        pairs: Pairs,
    ) -> Result<Self, WorkerError> {
        let reader = Reader {
            tokenizer,
            text,
            pairs,
        };
        let mut sets = Vec::new();
        for input in context.job.inputs_of(EVALUATE_ON) {
            let rows = reader.read(context, input, &mut Vec::new())?;
            sets.push((input.name.clone(), rows));
        }
        Ok(Self { sets })
    }

    /// Loss, accuracy, margin and ECE of each set, and the means over sets.
    ///
    /// # Errors
    /// Rewards that are not finite.
    pub(super) fn evaluate(
        &self,
        core: &Core<'_>,
        compute: &RewardCompute<'_>,
    ) -> Result<Figures, WorkerError> {
        let mut progress = Progress::new(core, self.sets.iter().map(|(_, rows)| rows.len()).sum());
        let mut figures = Figures::new();
        for (name, rows) in &self.sets {
            let mut compared = Compared::default();
            let sizes: Vec<usize> = rows.iter().map(|row| row.group.tokens()).collect();
            for range in micro::cut(&sizes, compute.token_budget) {
                let groups: Vec<&Group> = rows[range.clone()].iter().map(|r| &r.group).collect();
                let found = rewards_of(core, compute, &groups);
                for (row, rewards) in rows[range.clone()].iter().zip(found) {
                    if rewards.iter().any(|reward| !reward.is_finite()) {
                        return Err(not_finite("a reward", row.row, name));
                    }
                    compared.add(&row.scores, &rewards);
                }
                progress.add(range.len());
            }
            let found = compared.figures(BINS).map_err(|e| {
                let message = format!("evaluate on `{name}`: {e}");
                WorkerError::input(message, "give it rows whose responses differ in score")
            })?;
            for (figure, value) in found {
                figures.insert(format!("{name}/{figure}"), value);
            }
        }
        let names = || self.sets.iter().map(|(name, _)| name.as_str());
        add_mean(&mut figures, names(), "loss");
        add_mean(&mut figures, names(), "accuracy");
        Ok(figures)
    }
}

/// Rewards of each group's sequences under the weights in training.
fn rewards_of(core: &Core<'_>, compute: &RewardCompute<'_>, groups: &[&Group]) -> Vec<Vec<f64>> {
    let (decoder, weights) = (compute.decoder, &core.weights);
    let device = core.context.device;
    let packed = Packed::new(
        groups.iter().copied(),
        &decoder.config,
        compute.kind,
        device,
    );
    let lengths: Vec<&[usize]> = groups.iter().map(|g| g.lengths.as_slice()).collect();
    let pool = PoolPlan::new(&packed, &lengths, compute.pooling, compute.closed);
    let tape = Tape::forward(decoder, weights, &packed, Keep::Nothing);
    let flat = no_grad(|| {
        let norm = &weights.compute[decoder.norm_index()];
        let embeddings = pool.embeddings(decoder, norm, &tape.last);
        to_vec(&rewards(
            &embeddings,
            &weights.compute[decoder.head_index()],
        ))
    });
    by_group(&flat, groups.iter().map(|g| g.lengths.len()))
}

/// Loss and perplexity of each set, and the mean loss over sets.
///
/// # Errors
/// Log-probabilities that are not finite.
pub(super) fn evaluate_examples(
    core: &Core<'_>,
    examples: &Examples,
) -> Result<Figures, WorkerError> {
    let rows = &examples.rows;
    let sizes: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
    let mut progress = Progress::new(core, rows.len());
    let mut totals = vec![(0.0, 0usize); examples.names.len()];
    for range in micro::cut(&sizes, core.context.token_budget()) {
        let own: Vec<&Labelled> = rows[range.clone()].iter().collect();
        for (row, logprob) in own.iter().zip(log_probabilities_of(core, &own)) {
            if !logprob.is_finite() {
                let name = &examples.names[row.set];
                return Err(not_finite("the log-probability", row.row, name));
            }
            totals[row.set].0 -= logprob;
            totals[row.set].1 += row.count();
        }
        progress.add(range.len());
    }
    let mut figures = Figures::new();
    let mut used = Vec::new();
    for (name, (loss, count)) in examples.names.iter().zip(totals) {
        // All of a set's rows may have been left out.
        if count > 0 {
            let loss = loss / count as f64;
            figures.insert(format!("{name}/loss"), loss);
            // Of a model that has diverged it is no number that JSON can hold.
            if loss.exp().is_finite() {
                figures.insert(format!("{name}/perplexity"), loss.exp());
            }
            used.push(name.as_str());
        }
    }
    add_mean(&mut figures, used.into_iter(), "loss");
    Ok(figures)
}

/// Summed log-probability of each example's counted tokens under the weights
/// in training.
fn log_probabilities_of(core: &Core<'_>, examples: &[&Labelled]) -> Vec<f64> {
    let (decoder, weights) = (&core.decoder, &core.weights);
    let (kind, device) = (core.kind(), core.context.device);
    let groups = examples.iter().map(|example| &example.group);
    let packed = Packed::new(groups, &decoder.config, kind, device);
    let plan = LabelPlan::new(&packed, examples, device);
    let tape = Tape::forward(decoder, weights, &packed, Keep::Nothing);
    let values: Tensor = no_grad(|| {
        let x = tape.last.index_select(0, &plan.index).to_kind(Kind::Float);
        let normed = decoder.norm(&weights.compute[decoder.norm_index()], &x);
        let head = decoder.head_matrix(&weights.compute[decoder.head_index()]);
        log_probabilities(&normed.to_kind(kind), &head, &plan.labels)
    });
    let mut rest = to_vec(&values);
    let counts = plan.counts.iter();
    counts.map(|&count| rest.drain(..count).sum()).collect()
}

/// Adds the plain mean over sets of a figure.
fn add_mean<'a>(figures: &mut Figures, sets: impl Iterator<Item = &'a str>, figure: &str) {
    let values: Vec<f64> = sets
        .map(|set| figures[&format!("{set}/{figure}")])
        .collect();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    figures.insert(figure.to_owned(), mean);
}

fn not_finite(what: &str, row: usize, set: &str) -> WorkerError {
    WorkerError::Diverged {
        message: format!("evaluate: {what} of row {row} (from 0) of `{set}` is not finite"),
    }
}

/// Tells how far an evaluation is.
struct Progress<'a> {
    core: &'a Core<'a>,
    done: usize,
    total: usize,
}

impl<'a> Progress<'a> {
    fn new(core: &'a Core<'a>, total: usize) -> Self {
        let done = 0;
        Self { core, done, total }
    }

    fn add(&mut self, rows: usize) {
        self.done += rows;
        let events = self.core.context.events;
        events.progress("evaluating", self.done, self.total, "rows");
    }
}
