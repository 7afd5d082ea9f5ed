//! What an optimiser step changes: master weights, gradients, moments.

use tch::{Kind, Tensor, no_grad};
use torch_ext_sys::AdamW;

use crate::error::WorkerError;
use crate::model::{Decoder, LoadedModel};

/// Trainable weights of a model, one flat tensor per segment.
#[derive(Debug)]
pub struct TrainWeights {
    /// fp32 weights.
    pub master: Vec<Tensor>,
    /// Leaves of the computation: the master's storage in fp32, a copy in bf16.
    pub compute: Vec<Tensor>,
    /// fp32 gradients of this step; absent where nothing arrived yet.
    grads: Vec<Option<Tensor>>,
    /// First and second moments; absent for frozen segments.
    pub moments: Vec<Option<(Tensor, Tensor)>>,
    trainable: Vec<bool>,
}

impl TrainWeights {
    /// Takes a model over. `kind` is the dtype of matrix products;
    /// `train_blocks` as in [`moreline_protocol::spec::TrainReward`]. The final
    /// norm and a reward head always compute in fp32.
    pub fn new(model: LoadedModel, kind: Kind, train_blocks: Option<u32>) -> (Decoder, Self) {
        let LoadedModel { decoder, flats, .. } = model;
        let norm = decoder.norm_index();
        let lowest = match train_blocks {
            None => 0,
            Some(top) => norm.saturating_sub(top as usize).max(Decoder::FIRST_BLOCK),
        };
        let trainable: Vec<bool> = (0..flats.len()).map(|i| i >= lowest).collect();
        let master: Vec<Tensor> = flats.into_iter().map(|f| f.to_kind(Kind::Float)).collect();
        let leaf = |(i, flat): (usize, &Tensor)| {
            let reward_head = decoder.head == crate::model::Head::Reward && i > norm;
            let kind = if i == norm || reward_head {
                Kind::Float
            } else {
                kind
            };
            // `to_kind` of the same dtype shares the storage.
            flat.detach().to_kind(kind).set_requires_grad(trainable[i])
        };
        let compute = master.iter().enumerate().map(leaf).collect();
        let moments = master
            .iter()
            .zip(&trainable)
            .map(|(flat, &on)| on.then(|| (flat.zeros_like(), flat.zeros_like())))
            .collect();
        let grads = master.iter().map(|_| None).collect();
        (
            decoder,
            Self {
                master,
                compute,
                grads,
                moments,
                trainable,
            },
        )
    }

    /// Whether a segment is trained.
    pub fn trainable(&self, segment: usize) -> bool {
        self.trainable[segment]
    }

    /// The lowest trained segment.
    pub fn lowest_trainable(&self) -> usize {
        self.trainable
            .iter()
            .position(|&on| on)
            .unwrap_or(self.trainable.len())
    }

    /// Adds a gradient `[numel]` of any dtype to a segment's.
    pub fn accumulate(&mut self, segment: usize, grad: Tensor) {
        if !self.trainable[segment] {
            return;
        }
        no_grad(|| match &mut self.grads[segment] {
            Some(sum) => {
                let _ = sum.g_add_(&grad);
            }
            none => *none = Some(grad.to_kind(Kind::Float)),
        });
    }

    /// The global L2 norm of the gradients.
    pub fn grad_norm(&self) -> f64 {
        let squares = self.grads.iter().flatten().map(|g| {
            let norm = g.norm().double_value(&[]);
            norm * norm
        });
        squares.sum::<f64>().sqrt()
    }

    /// Forgets the gradients of this step.
    pub fn clear_grads(&mut self) {
        self.grads.iter_mut().for_each(|g| *g = None);
    }

    /// Scales the gradients by `scale`, takes one AdamW step and forgets them.
    /// A trained segment without a gradient has a zero one.
    ///
    /// # Errors
    /// What libtorch throws.
    pub fn step(&mut self, settings: &AdamW, scale: f64) -> Result<(), WorkerError> {
        for (i, moments) in self.moments.iter_mut().enumerate() {
            let Some((first, second)) = moments else {
                continue;
            };
            let mut grad = self.grads[i]
                .take()
                .unwrap_or_else(|| self.master[i].zeros_like());
            if scale != 1.0 {
                let _ = no_grad(|| grad.g_mul_scalar_(scale));
            }
            torch_ext_sys::adamw(settings, &mut self.master[i], &grad, (first, second))?;
            if self.compute[i].kind() != Kind::Float {
                no_grad(|| self.compute[i].copy_(&self.master[i]));
            }
        }
        Ok(())
    }

    /// Copies the master weights into the compute copies, after they were
    /// replaced from a checkpoint.
    pub fn refresh(&mut self) {
        for (compute, master) in self.compute.iter_mut().zip(&self.master) {
            no_grad(|| compute.copy_(master));
        }
    }
}
