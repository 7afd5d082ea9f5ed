//! Low-rank adapters (LoRA, arXiv 2106.09685) of the blocks' matrices.
//!
//! An adapted matrix W `[out, in]` acts as W + scale B A, with A `[rank, in]`
//! and B `[out, rank]`. The product B A is never formed while training, so that
//! the backward pass computes no gradient of W. The A and B of a block are one
//! flat tensor, as every segment's parameters are.

use std::ops::Deref;

use moreline_protocol::spec::Lora;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor, no_grad};
use torch_ext_sys::Projection;

use super::Decoder;
use super::layout::{Segment, View};
use crate::error::WorkerError;

/// First random stream of adapters; streams below belong to other uses of a seed.
const FIRST_STREAM: u64 = 1 << 32;

/// A parameter of a block, with its adapter's update if it has one.
#[derive(Debug)]
pub struct Weight {
    tensor: Tensor,
    update: Option<LowRank>,
}

/// scale B A as two factors.
#[derive(Debug)]
struct LowRank {
    /// A `[R, in]`.
    a: Tensor,
    /// scale B `[out, R]`.
    b: Tensor,
}

impl Deref for Weight {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

impl From<Tensor> for Weight {
    fn from(tensor: Tensor) -> Self {
        Self {
            tensor,
            update: None,
        }
    }
}

impl Weight {
    /// `x` `[T, in]` times this matrix `[out, in]`, transposed, plus `bias` `[out]`.
    pub fn apply(&self, x: &Tensor, bias: Option<&Weight>) -> Tensor {
        let y = x.linear(&self.tensor, bias.map(|bias| &bias.tensor));
        match &self.update {
            None => y,
            Some(LowRank { a, b }) => y.addmm(&x.linear(a, None::<&Tensor>), &b.tr()),
        }
    }

    /// This matrix and `bias` as one projection; `None` if it has an update.
    pub fn alone<'a>(&'a self, bias: Option<&'a Weight>) -> Option<Projection<'a>> {
        self.update.is_none().then(|| Projection {
            weight: &self.tensor,
            bias: bias.map(|bias| &bias.tensor),
        })
    }
}

/// The parameters of one block as its forward pass takes them.
#[derive(Debug, Clone, Copy)]
pub struct BlockWeights<'a> {
    /// The flat tensor of its segment.
    pub flat: &'a Tensor,
    /// Its adapter and that one's flat tensor, in the same dtype.
    pub adapter: Option<(&'a BlockAdapter, &'a Tensor)>,
}

/// The adapters of a model's upper blocks.
#[derive(Debug, Clone)]
pub struct Adapters {
    /// Rank of every update.
    pub rank: i64,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Lowest adapted block.
    pub first: usize,
    /// One for each block from `first` on.
    pub blocks: Vec<BlockAdapter>,
}

/// The adapter of one block.
#[derive(Debug, Clone)]
pub struct BlockAdapter {
    /// Its parameters: A and B of each target in turn.
    pub segment: Segment,
    scale: f64,
    rank: i64,
    targets: Vec<Target>,
}

/// A matrix of the block's segment.
#[derive(Debug, Clone)]
struct Target {
    /// The view it is in, and its place among the view's parts.
    view: usize,
    part: usize,
    /// Where it starts in the segment's flat tensor.
    offset: i64,
    shape: [i64; 2],
    /// Its module's name, as `self_attn.q_proj`.
    module: &'static str,
}

impl Adapters {
    /// Adapters of the blocks from `first` on.
    ///
    /// # Errors
    /// A target that the architecture does not have.
    pub fn new(decoder: &Decoder, lora: &Lora, first: usize) -> Result<Self, WorkerError> {
        let modules = modules(decoder, lora)?;
        let rank = i64::from(lora.rank);
        let block = |layer: usize| {
            let segment = &decoder.segments[Decoder::FIRST_BLOCK + layer];
            BlockAdapter::new(segment, &modules, rank, lora.alpha / f64::from(lora.rank))
        };
        Ok(Self {
            rank,
            alpha: lora.alpha,
            first,
            blocks: (first..decoder.config.layers).map(block).collect(),
        })
    }

    /// The last parts of the adapted modules' names, as `q_proj`.
    pub fn modules(&self) -> Vec<&'static str> {
        let last = |target: &Target| target.module.rsplit('.').next().unwrap_or(target.module);
        let targets = self.blocks.first().map(|block| block.targets.iter());
        targets.into_iter().flatten().map(last).collect()
    }
}

impl BlockAdapter {
    fn new(segment: &Segment, modules: &[&'static str], rank: i64, scale: f64) -> Self {
        let (mut targets, mut views) = (Vec::new(), Vec::new());
        let mut offset = 0;
        for (view, stack) in segment.views.iter().enumerate() {
            for (number, part) in stack.parts.iter().enumerate() {
                let stem = part.name.strip_suffix(".weight");
                let module = modules
                    .iter()
                    .find(|m| stem.is_some_and(|s| s.ends_with(*m)));
                if let (Some(stem), Some(module), [rows, columns]) =
                    (stem, module, part.shape.as_slice())
                {
                    let name =
                        |letter: &str| format!("base_model.model.{stem}.lora_{letter}.weight");
                    views.push(View::single(name("A"), &[rank, *columns]));
                    views.push(View::single(name("B"), &[*rows, rank]));
                    targets.push(Target {
                        view,
                        part: number,
                        offset,
                        shape: [*rows, *columns],
                        module,
                    });
                }
                offset += part.numel();
            }
        }
        Self {
            segment: Segment { views },
            scale,
            rank,
            targets,
        }
    }

    /// A new adapter's flat tensor, fp32: A uniform in ±1/√in (Kaiming's with
    /// a = √5, as PEFT has it), B zero, so that it changes nothing yet.
    pub fn initial(&self, seed: u64, layer: usize) -> Tensor {
        let mut values: Vec<f32> = Vec::with_capacity(self.segment.numel() as usize);
        for (number, target) in self.targets.iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(FIRST_STREAM + ((layer as u64) << 8) + number as u64);
            let [rows, columns] = target.shape;
            let bound = 1.0 / (columns as f64).sqrt();
            let uniform = |_| ((2.0 * rng.random::<f64>() - 1.0) * bound) as f32;
            values.extend((0..self.rank * columns).map(uniform));
            values.resize(values.len() + (rows * self.rank) as usize, 0.0);
        }
        Tensor::from_slice(&values)
    }

    /// The block's parameters with their updates; differentiable in both.
    pub(super) fn weights(&self, segment: &Segment, block: &BlockWeights<'_>) -> Vec<Weight> {
        let mut weights: Vec<Weight> = plain(segment, block.flat);
        if let Some((_, flat)) = block.adapter {
            let factors = self.segment.split(flat);
            for (view, weight) in weights.iter_mut().enumerate() {
                weight.update = self.update(view, &segment.views[view], &factors);
            }
        }
        weights
    }

    /// The update of a view: with several parts the rows of A are stacked, and
    /// B is the block-diagonal matrix of the parts' own.
    fn update(&self, view: usize, stack: &View, factors: &[Tensor]) -> Option<LowRank> {
        let own: Vec<(usize, &Target)> = self
            .targets
            .iter()
            .enumerate()
            .filter(|(_, target)| target.view == view)
            .collect();
        let count = own.len() as i64;
        let (first, _) = *own.first()?;
        if stack.parts.len() == 1 {
            return Some(LowRank {
                a: factors[2 * first].shallow_clone(),
                b: &factors[2 * first + 1] * self.scale,
            });
        }
        let a: Vec<&Tensor> = own.iter().map(|(i, _)| &factors[2 * i]).collect();
        let rows = stack.parts.iter().enumerate().map(|(number, part)| {
            match own.iter().position(|(_, target)| target.part == number) {
                Some(column) => {
                    let b = &factors[2 * own[column].0 + 1] * self.scale;
                    let before = column as i64 * self.rank;
                    let after = (count - 1 - column as i64) * self.rank;
                    b.constant_pad_nd([before, after])
                }
                None => {
                    let like = (factors[2 * first].kind(), factors[2 * first].device());
                    Tensor::zeros([part.shape[0], count * self.rank], like)
                }
            }
        });
        Some(LowRank {
            a: Tensor::cat(&a, 0),
            b: Tensor::cat(&rows.collect::<Vec<_>>(), 0),
        })
    }

    /// Adds the updates to the block's flat tensor `base`, in fp32, in place.
    pub fn merge_into(&self, base: &Tensor, flat: &Tensor) {
        let factors = self.segment.split(flat);
        no_grad(|| {
            for (number, target) in self.targets.iter().enumerate() {
                let (a, b) = (&factors[2 * number], &factors[2 * number + 1]);
                let update = b.to_kind(Kind::Float).matmul(&a.to_kind(Kind::Float)) * self.scale;
                let numel = target.shape[0] * target.shape[1];
                let mut part = base.narrow(0, target.offset, numel).view(target.shape);
                let _ = part.g_add_(&update);
            }
        });
    }
}

/// The parameters of a segment without updates.
pub(super) fn plain(segment: &Segment, flat: &Tensor) -> Vec<Weight> {
    segment.split(flat).into_iter().map(Weight::from).collect()
}

fn modules(decoder: &Decoder, lora: &Lora) -> Result<Vec<&'static str>, WorkerError> {
    let architecture = decoder.config.architecture;
    lora.modules(architecture.is_llama_family())
        .map_err(|(name, known)| {
            WorkerError::input(
                format!(
                    "adapt the matrix `{name}` of a {} model: it has none of that name",
                    architecture.class_stem()
                ),
                format!("its `targets` are {known}"),
            )
        })
}
