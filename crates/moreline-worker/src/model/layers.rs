//! Layers shared by the model families.
//!
//! Shape letters: T tokens of a packed batch, H hidden size, D head size, N
//! query heads, K key and value heads.

use moreline_formats::model_config::{Activation, Rope};
use tch::{Device, Kind, Tensor};

/// RMSNorm (arXiv 1910.07467) over the last dimension, computed in fp32 and
/// rounded before the weight is applied, as transformers does.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    let x32 = x.to_kind(Kind::Float);
    let mean_square = x32
        .square()
        .mean_dim([-1i64].as_slice(), true, Kind::Float);
    (x32 * (mean_square + eps).rsqrt()).to_kind(x.kind()) * weight
}

/// LayerNorm over the last dimension `[H]`.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Tensor {
    x.layer_norm(weight.size(), Some(weight), Some(bias), eps, false)
}

/// The non-linearity of an MLP.
pub fn activate(x: &Tensor, activation: Activation) -> Tensor {
    match activation {
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu("none"),
        Activation::GeluTanh => x.gelu("tanh"),
    }
}

/// Rotary position embedding (arXiv 2104.09864) for the tokens of one batch.
#[derive(Debug)]
pub struct Rotary {
    cos_t1d: Tensor,
    sin_t1d: Tensor,
    dims: i64,
}

impl Rotary {
    /// Angles for `positions` `[T]`; the factors are rounded to `kind` after
    /// being computed in fp64.
    pub fn new(rope: &Rope, positions: &[i64], kind: Kind, device: Device) -> Self {
        let frequencies = Tensor::from_slice(&rope.inverse_frequencies());
        let positions = Tensor::from_slice(positions).to_kind(Kind::Double);
        let angles = positions.unsqueeze(1) * frequencies.unsqueeze(0);
        let place = |t: Tensor| t.to_kind(kind).unsqueeze(1).to_device(device);
        Self {
            cos_t1d: place(angles.cos()),
            sin_t1d: place(angles.sin()),
            dims: rope.dims as i64,
        }
    }

    /// Rotates `x` `[T, heads, D]`, pairing dimension i with i + dims / 2.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let head = x.size()[2];
        let half = self.dims / 2;
        let low = x.narrow(2, 0, half);
        let high = x.narrow(2, half, half);
        let mut out = vec![
            &low * &self.cos_t1d - &high * &self.sin_t1d,
            &high * &self.cos_t1d + &low * &self.sin_t1d,
        ];
        if self.dims < head {
            out.push(x.narrow(2, self.dims, head - self.dims));
        }
        Tensor::cat(&out, 2)
    }
}

/// Attention over the tokens of a batch: `q` `[T, N, D]`, `k` and `v`
/// `[T, K, D]`, to `[T, N * D]`.
pub trait Attend {
    /// Attends in layer `layer`, counted from 0.
    fn attend(&self, layer: usize, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor;
}
