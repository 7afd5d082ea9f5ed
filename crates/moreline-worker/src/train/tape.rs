//! Forward and backward, segment by segment.

use tch::{Kind, Tensor, no_grad};

use super::weights::TrainWeights;
use crate::batch::Packed;
use crate::error::WorkerError;
use crate::model::Decoder;

/// What a forward pass leaves for the backward pass of one micro-batch.
#[derive(Debug)]
pub struct Tape {
    /// Runs of trained blocks, from below.
    runs: Vec<Run>,
    /// The last block's output `[T, H]`, a detached leaf.
    pub last: Tensor,
}

/// Neighbouring blocks whose graphs are kept, or computed again, together.
#[derive(Debug)]
struct Run {
    first: usize,
    len: usize,
    /// What goes into the first of them.
    input: Tensor,
    /// Their graphs; none if they are to be computed again.
    kept: Vec<Kept>,
}

/// A block's input, a detached leaf, and its output with the graph.
#[derive(Debug)]
struct Kept {
    input: Tensor,
    output: Tensor,
}

/// What is kept of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Every block's graph: fastest.
    Graphs,
    /// The input of every n-th block: the backward pass computes n blocks at a
    /// time again, to the same bits.
    Inputs(usize),
    /// Nothing: there is no backward pass.
    Nothing,
}

/// A model and a micro-batch.
#[derive(Debug, Clone, Copy)]
struct Blocks<'a> {
    decoder: &'a Decoder,
    weights: &'a TrainWeights,
    packed: &'a Packed,
}

impl Blocks<'_> {
    fn block(&self, layer: usize, x: &Tensor) -> Tensor {
        let (weights, packed) = (self.weights.block(layer), self.packed);
        self.decoder
            .block_with(layer, &weights, x, &packed.rotary, &packed.attention)
    }

    /// Blocks `first..first + len` with their graphs, and what comes out.
    fn graphs(&self, first: usize, len: usize, input: &Tensor) -> (Vec<Kept>, Tensor) {
        let mut x = input.detach();
        let mut kept = Vec::with_capacity(len);
        for layer in first..first + len {
            // Nothing below the lowest trained block wants a gradient.
            let wanted = layer > self.weights.first_block() || self.weights.trainable(0);
            let input = x.detach().set_requires_grad(wanted);
            let output = self.block(layer, &input);
            x = output.detach();
            kept.push(Kept { input, output });
        }
        (kept, x)
    }
}

impl Tape {
    /// Runs the blocks on a micro-batch.
    pub fn forward(decoder: &Decoder, weights: &TrainWeights, packed: &Packed, keep: Keep) -> Self {
        let layers = decoder.config.layers;
        let (first, every) = match keep {
            Keep::Graphs => (weights.first_block(), 1),
            Keep::Inputs(every) => (weights.first_block(), every.max(1)),
            Keep::Nothing => (layers, 1),
        };
        let blocks = Blocks {
            decoder,
            weights,
            packed,
        };
        let mut x = no_grad(|| {
            let x = decoder.embed(&weights.compute[0], &packed.tokens_t);
            (0..first).fold(x, |x, layer| blocks.block(layer, &x))
        });
        let mut runs = Vec::new();
        for first in (first..layers).step_by(every) {
            let len = every.min(layers - first);
            let input = x.shallow_clone();
            let (kept, out) = match keep {
                Keep::Graphs => blocks.graphs(first, len, &input),
                Keep::Inputs(_) | Keep::Nothing => {
                    let forward = |x: Tensor, layer| blocks.block(layer, &x);
                    (
                        Vec::new(),
                        no_grad(|| (first..first + len).fold(x, forward)),
                    )
                }
            };
            x = out;
            runs.push(Run {
                first,
                len,
                input,
                kept,
            });
        }
        let last = x
            .detach()
            .set_requires_grad(!runs.is_empty() || weights.trainable(0));
        Self { runs, last }
    }

    /// Goes back from what was computed of [`Self::last`] and the final norm's
    /// leaf `norm`: `ends` with their gradients. Adds every trained slot's
    /// gradient below the head, the norm's and the embedding's included.
    ///
    /// # Errors
    /// What libtorch throws.
    pub fn backward_from(
        self,
        decoder: &Decoder,
        weights: &mut TrainWeights,
        packed: &Packed,
        ends: Vec<(Tensor, Tensor)>,
        norm: &Tensor,
    ) -> Result<(), WorkerError> {
        let leaves = [&self.last, norm];
        let wanted: Vec<&Tensor> = leaves.into_iter().filter(|t| t.requires_grad()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (outputs, grads): (Vec<&Tensor>, Vec<&Tensor>) =
            ends.iter().map(|(output, grad)| (output, grad)).unzip();
        let mut found = torch_ext_sys::grad(&outputs, &grads, &wanted)?;
        if norm.requires_grad()
            && let Some(grad) = found.pop().flatten()
        {
            weights.accumulate(decoder.norm_index(), &grad);
        }
        // Their graphs are done with.
        drop(ends);
        match found.pop().flatten() {
            Some(grad_last) => self.backward(decoder, weights, packed, grad_last),
            None => Ok(()),
        }
    }

    /// Goes back from the gradient of [`Self::last`] and adds every trained
    /// slot's gradient, the embedding's included.
    ///
    /// # Errors
    /// What libtorch throws.
    fn backward(
        mut self,
        decoder: &Decoder,
        weights: &mut TrainWeights,
        packed: &Packed,
        grad_last: Tensor,
    ) -> Result<(), WorkerError> {
        drop(self.last);
        let mut grad = grad_last;
        while let Some(run) = self.runs.pop() {
            let blocks = Blocks {
                decoder,
                weights,
                packed,
            };
            let mut kept = run.kept;
            if kept.is_empty() {
                (kept, _) = blocks.graphs(run.first, run.len, &run.input);
            }
            drop(run.input);
            while let Some(block) = kept.pop() {
                let layer = run.first + kept.len();
                match block_backward(weights, layer, block, &grad)? {
                    Some(below) => grad = below,
                    None => return Ok(()),
                }
            }
        }
        if weights.trainable(0) {
            let vocabulary = decoder.config.vocab_size as i64;
            // A frequent token's gradient is a sum of hundreds: in bf16 it would stall.
            let grad = grad.to_kind(Kind::Float);
            let table =
                Tensor::embedding_dense_backward(&grad, &packed.tokens_t, vocabulary, -1, false);
            weights.accumulate(0, &table.view([-1]));
        }
        Ok(())
    }
}

/// Adds the gradients of a block's trained slots; that of its input, if wanted.
fn block_backward(
    weights: &mut TrainWeights,
    layer: usize,
    block: Kept,
    grad: &Tensor,
) -> Result<Option<Tensor>, WorkerError> {
    let slots: Vec<usize> = weights.block_slots(layer).collect();
    let mut inputs: Vec<&Tensor> = slots.iter().map(|&slot| &weights.compute[slot]).collect();
    let wanted = block.input.requires_grad();
    if wanted {
        inputs.push(&block.input);
    }
    let mut grads = torch_ext_sys::grad(&[&block.output], &[grad], &inputs)?;
    drop(block.output);
    let below = if wanted { grads.pop().flatten() } else { None };
    for (slot, found) in slots.into_iter().zip(grads) {
        if let Some(found) = found {
            weights.accumulate(slot, &found);
        }
    }
    Ok(below)
}
