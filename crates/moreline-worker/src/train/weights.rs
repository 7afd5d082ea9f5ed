//! What an optimiser step changes: master weights, gradients, moments.
//!
//! Tensors lie in slots: those of the model's segments, then the adapters of
//! its blocks, then a language-model head that only training uses. A slot that
//! is not trained has no gradient, no moments and no fp32 master.

use tch::{Kind, Tensor, no_grad};
use torch_ext_sys::AdamW;

use super::trained::Trained;
use crate::error::WorkerError;
use crate::model::adapter::{Adapters, BlockWeights};
use crate::model::layout::Segment;
use crate::model::{Decoder, Head, LoadedModel};

/// The weights of a model in training, one flat tensor per slot.
#[derive(Debug)]
pub struct TrainWeights {
    /// fp32 weights; of frozen slots the computation's own.
    pub master: Vec<Tensor>,
    /// Leaves of the computation: the master's storage in fp32, a copy in bf16.
    pub compute: Vec<Tensor>,
    /// fp32 gradients, kept from step to step so that they leave no holes among
    /// the activations; meaningless until one arrived.
    grads: Vec<Option<Tensor>>,
    /// Whether a gradient arrived in this step.
    arrived: Vec<bool>,
    /// First and second moments; absent for frozen slots. Meaningless while
    /// they are fresh.
    pub moments: Vec<Option<(Tensor, Tensor)>>,
    /// Whether the moments are yet to be written: until then they take no memory.
    fresh: bool,
    trainable: Vec<bool>,
    /// Where the matrices of a slot lie: offset and length.
    matrices: Vec<Vec<(i64, i64)>>,
    adapters: Option<Adapters>,
    /// Slots of the model's own segments.
    segments: usize,
    first_block: usize,
    lm_head: usize,
}

impl TrainWeights {
    /// Takes a model over. `kind` is the dtype of matrix products. The final
    /// norm and a reward head always compute in fp32.
    ///
    /// # Errors
    /// Adapters of matrices that the model does not have, nothing to train.
    pub fn new(
        model: LoadedModel,
        kind: Kind,
        trained: &Trained<'_>,
    ) -> Result<(Decoder, Self), WorkerError> {
        let LoadedModel {
            decoder,
            flats,
            device,
        } = model;
        let on = trained.segments(&decoder)?;
        let mut weights = Self {
            master: Vec::new(),
            compute: Vec::new(),
            grads: Vec::new(),
            arrived: Vec::new(),
            moments: Vec::new(),
            fresh: true,
            trainable: Vec::new(),
            matrices: Vec::new(),
            adapters: None,
            segments: flats.len(),
            first_block: trained.first_block(decoder.config.layers),
            lm_head: decoder.head_index(),
        };
        for (i, flat) in flats.into_iter().enumerate() {
            let norm = decoder.norm_index();
            let fp32 = i == norm || (decoder.head == Head::Reward && i > norm);
            let kind = if fp32 { Kind::Float } else { kind };
            weights.push(flat, kind, on[i], &decoder.segments[i]);
        }
        if let Some(lora) = trained.lora {
            let adapters = Adapters::new(&decoder, lora, weights.first_block)?;
            for (block, layer) in adapters.blocks.iter().zip(adapters.first..) {
                let flat = block.initial(trained.seed, layer).to_device(device);
                weights.push(flat, kind, true, &block.segment);
            }
            weights.adapters = Some(adapters);
        }
        weights.make_room();
        Ok((decoder, weights))
    }

    /// Makes a language-model head beside the reward head: `flat` `[V * H]`,
    /// trained if the embedding is, or the embedding itself.
    pub fn add_lm_head(&mut self, decoder: &Decoder, flat: Option<Tensor>) {
        self.lm_head = 0;
        if let (Some(flat), Some(segment)) = (flat, Decoder::lm_head_segment(&decoder.config)) {
            self.lm_head = self.master.len();
            self.push(flat, self.compute[0].kind(), self.trainable[0], &segment);
            self.make_room();
        }
    }

    fn push(&mut self, flat: Tensor, kind: Kind, on: bool, segment: &Segment) {
        // `to_kind` of the same dtype shares the storage.
        let master = flat.to_kind(if on { Kind::Float } else { kind });
        drop(flat);
        let mut compute = master.detach().to_kind(kind).set_requires_grad(on);
        if on && kind == Kind::BFloat16 {
            torch_ext_sys::round_dithered(&master, &mut compute);
        }
        self.master.push(master);
        self.compute.push(compute);
        self.trainable.push(on);
        self.matrices.push(matrices(segment));
    }

    /// Moments and gradients, once all weights are in. Nothing is written yet:
    /// a system gives memory when it is, and takes seconds for gigabytes.
    fn make_room(&mut self) {
        for i in self.moments.len()..self.master.len() {
            let room = || self.master[i].empty_like();
            let on = self.trainable[i];
            self.moments.push(on.then(|| (room(), room())));
            self.grads.push(on.then(room));
            self.arrived.push(false);
        }
    }

    /// Whether a slot is trained.
    pub fn trainable(&self, slot: usize) -> bool {
        self.trainable[slot]
    }

    /// The lowest block that is trained or has an adapter; the number of blocks
    /// if none does.
    pub fn first_block(&self) -> usize {
        self.first_block
    }

    /// The slot of the language-model head's matrix.
    pub fn lm_head(&self) -> usize {
        self.lm_head
    }

    /// The slot of a block's adapter.
    fn adapter_slot(&self, layer: usize) -> Option<usize> {
        let adapters = self.adapters.as_ref()?;
        Some(self.segments + layer.checked_sub(adapters.first)?)
    }

    /// The parameters of block `layer`.
    pub fn block(&self, layer: usize) -> BlockWeights<'_> {
        let adapter = self.adapters.as_ref().and_then(|adapters| {
            let slot = self.adapter_slot(layer)?;
            Some((&adapters.blocks[slot - self.segments], &self.compute[slot]))
        });
        BlockWeights {
            flat: &self.compute[Decoder::FIRST_BLOCK + layer],
            adapter,
        }
    }

    /// The trained slots of block `layer`: its own, or its adapter's.
    pub fn block_slots(&self, layer: usize) -> impl Iterator<Item = usize> {
        let slots = [Some(Decoder::FIRST_BLOCK + layer), self.adapter_slot(layer)];
        slots
            .into_iter()
            .flatten()
            .filter(|&slot| self.trainable[slot])
    }

    /// The adapters and their fp32 tensors, if there are any.
    pub fn adapters(&self) -> Option<(&Adapters, &[Tensor])> {
        let adapters = self.adapters.as_ref()?;
        let own = self.segments..self.segments + adapters.blocks.len();
        Some((adapters, &self.master[own]))
    }

    /// The model's segments as they are exported, adapters merged in fp32 and
    /// then rounded to the dtype `kind`.
    pub fn export_flats(&self, kind: Kind) -> Vec<Tensor> {
        let adapted = |i: usize| {
            let adapters = self.adapters.as_ref()?;
            let number = i.checked_sub(Decoder::FIRST_BLOCK + adapters.first)?;
            let block = adapters.blocks.get(number)?;
            Some((block, &self.master[self.segments + number]))
        };
        let flat = |i: usize| {
            let Some((block, factors)) = adapted(i) else {
                return self.master[i].shallow_clone();
            };
            let merged = self.master[i].to_dtype(Kind::Float, false, true);
            block.merge_into(&merged, factors);
            merged.to_kind(kind)
        };
        (0..self.segments).map(flat).collect()
    }

    /// Adds a gradient `[numel]` of any dtype to a slot's.
    pub fn accumulate(&mut self, slot: usize, grad: &Tensor) {
        let Some(sum) = &mut self.grads[slot] else {
            return;
        };
        let first = !std::mem::replace(&mut self.arrived[slot], true);
        no_grad(|| {
            if first {
                sum.copy_(grad);
            } else {
                let _ = sum.g_add_(grad);
            }
        });
    }

    /// A slot's gradient of this step, fp32; `None` if nothing arrived.
    pub fn grad(&self, slot: usize) -> Option<&Tensor> {
        self.grads[slot].as_ref().filter(|_| self.arrived[slot])
    }

    /// The global L2 norm of the gradients.
    pub fn grad_norm(&self) -> f64 {
        let squares = (0..self.grads.len())
            .filter_map(|slot| self.grad(slot))
            .map(|g| {
                let norm = g.norm().double_value(&[]);
                norm * norm
            });
        squares.sum::<f64>().sqrt()
    }

    /// Forgets the gradients of this step.
    pub fn clear_grads(&mut self) {
        self.begin_moments();
        self.arrived.fill(false);
    }

    /// Moments begin at zero.
    fn begin_moments(&mut self) {
        if std::mem::take(&mut self.fresh) {
            for (first, second) in self.moments.iter_mut().flatten() {
                for moment in [first, second] {
                    let _ = no_grad(|| moment.zero_());
                }
            }
        }
    }

    /// To be called when masters and moments were read from a checkpoint.
    pub fn restored(&mut self) {
        self.fresh = false;
        self.refresh();
    }

    /// Scales the gradients by `scale`, takes one AdamW step and forgets them.
    /// A trained slot without a gradient has a zero one. Without `decay_norms`
    /// weight decay leaves norms and biases alone.
    ///
    /// # Errors
    /// What libtorch throws.
    pub fn step(
        &mut self,
        settings: &AdamW,
        scale: f64,
        decay_norms: bool,
    ) -> Result<(), WorkerError> {
        self.begin_moments();
        for i in 0..self.master.len() {
            let (Some((first, second)), Some(grad)) = (&mut self.moments[i], &mut self.grads[i])
            else {
                continue;
            };
            no_grad(|| {
                if !self.arrived[i] {
                    let _ = grad.zero_();
                } else if scale != 1.0 {
                    let _ = grad.g_mul_scalar_(scale);
                }
            });
            let mut settings = *settings;
            if !decay_norms {
                decay(&self.master[i], &self.matrices[i], &settings);
                settings.weight_decay = 0.0;
            }
            torch_ext_sys::adamw(&settings, &mut self.master[i], grad, (first, second))?;
        }
        self.clear_grads();
        self.refresh();
        Ok(())
    }

    /// Copies the trained master weights into the compute copies. Rounded to
    /// the nearest, steps much smaller than bf16 resolves would be lost where
    /// weights lie on a grid of their own, as those of quantised models do.
    pub fn refresh(&mut self) {
        for i in 0..self.master.len() {
            if self.trainable[i] && self.compute[i].kind() != Kind::Float {
                torch_ext_sys::round_dithered(&self.master[i], &mut self.compute[i]);
            }
        }
    }
}

/// Decoupled weight decay of some ranges, as AdamW applies it to all.
fn decay(flat: &Tensor, ranges: &[(i64, i64)], settings: &AdamW) {
    if settings.weight_decay == 0.0 {
        return;
    }
    let factor = 1.0 - settings.lr * settings.weight_decay;
    no_grad(|| {
        for &(offset, len) in ranges {
            let _ = flat.narrow(0, offset, len).g_mul_scalar_(factor);
        }
    });
}

/// Offset and length of a segment's matrices, neighbours joined.
fn matrices(segment: &Segment) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for (offset, part) in segment.parts().filter(|(_, part)| part.shape.len() > 1) {
        match ranges.last_mut() {
            Some((start, len)) if *start + *len == offset => *len += part.numel(),
            _ => ranges.push((offset, part.numel())),
        }
    }
    ranges
}
