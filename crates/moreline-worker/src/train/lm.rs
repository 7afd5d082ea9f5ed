//! The language-model loss beside the ranking loss: on the best response of
//! each row, from where the row's responses part.

use tch::{Kind, Tensor, no_grad};

use super::step::RewardRow;
use super::weights::TrainWeights;
use crate::batch::group::common_prefix;
use crate::batch::{Group, Packed};
use crate::lm_head::{self, Labels};
use crate::model::Decoder;

/// Predictions of a micro-batch.
#[derive(Debug)]
pub(super) struct LmPlan {
    /// Positions whose hidden states predict `[R]`.
    index: Tensor,
    /// The tokens that follow them `[R]`.
    labels: Tensor,
}

/// What the loss gave.
pub(super) struct LmLoss {
    /// Summed over the predictions, in nats.
    pub loss: f64,
    /// Normed hidden states `[R, H]`, fp32, with their graph.
    pub normed: Tensor,
    /// The gradient of `scale` times the loss with respect to them.
    pub grad: Tensor,
}

/// The first of the best responses.
fn best(scores: &[f64]) -> usize {
    let better = |a: usize, b: usize| if scores[b] > scores[a] { b } else { a };
    (0..scores.len()).reduce(better).unwrap_or(0)
}

/// Position of the first predicted token of a response: the first after the
/// prompt, and never the first of the text.
fn first(row: &RewardRow, sequence: usize) -> usize {
    let prompt = row.prompts.get(sequence).copied();
    prompt.unwrap_or_else(|| beginning(&row.group)).max(1)
}

/// Tokens that all responses begin with, whether or not they are computed once.
fn beginning(group: &Group) -> usize {
    let sequences: Vec<Vec<u32>> = (0..group.ends.len()).map(|s| tokens(group, s)).collect();
    match sequences.as_slice() {
        [_] => 0,
        several => common_prefix(several),
    }
}

/// The tokens of a sequence.
fn tokens(group: &Group, sequence: usize) -> Vec<u32> {
    let path = group.path(sequence).into_iter();
    path.flat_map(|span| group.spans[span].tokens.iter().copied())
        .collect()
}

/// Number of predictions of a row.
pub(super) fn count(row: &RewardRow) -> usize {
    let sequence = best(&row.scores);
    row.group.lengths[sequence].saturating_sub(first(row, sequence))
}

impl LmPlan {
    /// For rows packed in this order; `None` if there is nothing to predict.
    pub(super) fn new(packed: &Packed, rows: &[&RewardRow]) -> Option<Self> {
        let (mut index, mut labels) = (Vec::new(), Vec::new());
        for (number, row) in rows.iter().enumerate() {
            let sequence = best(&row.scores);
            let tokens = tokens(&row.group, sequence).into_iter();
            for (position, token) in tokens.enumerate().skip(first(row, sequence)) {
                index.push(packed.index(number, sequence, position - 1));
                labels.push(i64::from(token));
            }
        }
        let place = |values: &[i64]| Tensor::from_slice(values).to_device(packed.tokens_t.device());
        (!index.is_empty()).then(|| Self {
            index: place(&index),
            labels: place(&labels),
        })
    }

    /// The loss after the last block's output `x` `[T, H]` and the final norm's
    /// parameters; the head's own gradient goes to `weights`.
    pub(super) fn loss(
        &self,
        decoder: &Decoder,
        (x, norm): (&Tensor, &Tensor),
        weights: &mut TrainWeights,
        scale: f64,
    ) -> LmLoss {
        let slot = weights.lm_head();
        let flat = &weights.compute[slot];
        let head = no_grad(|| flat.view([-1, decoder.config.hidden_size as i64]));
        let normed = decoder.norm(norm, &x.index_select(0, &self.index).to_kind(Kind::Float));
        let labels = Labels {
            tokens: &self.labels,
            smoothing: 0.0,
        };
        let input = normed.detach().to_kind(head.kind());
        let found = lm_head::cross_entropy(&input, &head, labels, scale, weights.trainable(slot));
        if let Some(grad) = found.grad_head {
            weights.accumulate(slot, &grad.view([-1]));
        }
        LmLoss {
            loss: found.loss,
            normed,
            grad: found.grad_x.to_kind(Kind::Float),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_the_common_beginning_is_predicted() {
        let tokens = |tail: &[u32]| -> Vec<u32> { (0..10).chain(tail.iter().copied()).collect() };
        let row = |sequences: &[Vec<u32>], scores: &[f64]| RewardRow {
            task: 0,
            group: Group::share(sequences),
            scores: scores.to_vec(),
            prompts: Vec::new(),
        };
        let sequences = [tokens(&[20, 21, 22]), tokens(&[30])];
        assert_eq!(count(&row(&sequences, &[1.0, 0.0])), 3);
        assert_eq!(count(&row(&sequences, &[0.0, 1.0])), 1);
        // A beginning too short to be computed once is one all the same.
        let short = [vec![1, 2, 3, 4], vec![1, 2, 5]];
        assert_eq!(count(&row(&short, &[1.0, 0.0])), 2);
        // Nothing shared: all but the first token.
        let apart = [vec![1, 2, 3], vec![4, 5]];
        assert_eq!(count(&row(&apart, &[1.0, 0.0])), 2);
        // The better is a beginning of the worse.
        assert_eq!(count(&row(&[tokens(&[]), tokens(&[5])], &[1.0, 0.0])), 0);
        // Cut on the left by different amounts they share nothing, but are still prompt.
        let mut cut = row(&[vec![3, 4, 20, 21], vec![2, 3, 4, 30]], &[1.0, 0.0]);
        cut.prompts = vec![2, 3];
        assert_eq!(count(&cut), 2);
    }
}
