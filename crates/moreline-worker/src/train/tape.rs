//! Forward and backward, segment by segment.

use tch::{Tensor, no_grad};

use super::weights::TrainWeights;
use crate::batch::Packed;
use crate::error::WorkerError;
use crate::model::Decoder;

/// What a forward pass leaves for the backward pass of one micro-batch.
#[derive(Debug)]
pub struct Tape {
    /// Inputs of the trained blocks, detached leaves.
    inputs: Vec<Tensor>,
    /// Outputs of the trained blocks with their graphs; empty if they are to
    /// be computed again.
    outputs: Vec<Tensor>,
    /// First trained block.
    first: usize,
    /// The last block's output `[T, H]`, a detached leaf.
    pub last: Tensor,
}

/// What is kept of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Every block's graph: fastest.
    Graphs,
    /// Every block's input: the backward pass computes each block again.
    Inputs,
    /// Nothing: there is no backward pass.
    Nothing,
}

impl Tape {
    /// Runs the blocks on a micro-batch.
    pub fn forward(decoder: &Decoder, weights: &TrainWeights, packed: &Packed, keep: Keep) -> Self {
        let first = weights
            .lowest_trainable()
            .saturating_sub(Decoder::FIRST_BLOCK);
        let block = |layer: usize, x: &Tensor| {
            let flat = &weights.compute[Decoder::FIRST_BLOCK + layer];
            decoder.block(layer, flat, x, &packed.rotary, &packed.attention)
        };
        let mut x = no_grad(|| {
            let mut x = decoder.embed(&weights.compute[0], &packed.tokens_t);
            for layer in 0..first.min(decoder.config.layers) {
                x = block(layer, &x);
            }
            x
        });
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for layer in first..decoder.config.layers {
            let input = x.detach().set_requires_grad(true);
            match keep {
                Keep::Graphs => {
                    let output = block(layer, &input);
                    x = output.detach();
                    outputs.push(output);
                }
                Keep::Inputs => x = no_grad(|| block(layer, &input)),
                Keep::Nothing => {
                    x = no_grad(|| block(layer, &input));
                    continue;
                }
            }
            inputs.push(input);
        }
        let last = x.detach().set_requires_grad(true);
        Self {
            inputs,
            outputs,
            first,
            last,
        }
    }

    /// Goes back from the gradient of [`Self::last`] and adds every trained
    /// segment's gradient, the embedding's included.
    ///
    /// # Errors
    /// What libtorch throws.
    pub fn backward(
        mut self,
        decoder: &Decoder,
        weights: &mut TrainWeights,
        packed: &Packed,
        grad_last: Tensor,
    ) -> Result<(), WorkerError> {
        let mut grad = grad_last;
        while let Some(input) = self.inputs.pop() {
            let layer = self.first + self.inputs.len();
            let segment = Decoder::FIRST_BLOCK + layer;
            let flat = &weights.compute[segment];
            let output = self.outputs.pop().unwrap_or_else(|| {
                decoder.block(layer, flat, &input, &packed.rotary, &packed.attention)
            });
            let mut grads = torch_ext_sys::grad(&[&output], &[&grad], &[&input, flat])?;
            let flat_grad = grads.pop().flatten();
            let Some(input_grad) = grads.pop().flatten() else {
                unreachable!("a block depends on its input");
            };
            grad = input_grad;
            if let Some(flat_grad) = flat_grad {
                weights.accumulate(segment, flat_grad);
            }
        }
        if weights.trainable(0) {
            let vocabulary = decoder.config.vocab_size as i64;
            let table =
                Tensor::embedding_dense_backward(&grad, &packed.tokens_t, vocabulary, -1, false);
            weights.accumulate(0, table.view([-1]));
        }
        Ok(())
    }
}
