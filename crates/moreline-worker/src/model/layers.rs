//! Layers shared by the model families.
//!
//! Shape letters: T tokens of a packed batch, H hidden size, D head size, N
//! query heads, K key and value heads.

use moreline_formats::model_config::{Activation, Rope};
use tch::{Device, Kind, Tensor};

use super::adapter::Weight;

/// RMSNorm (arXiv 1910.07467) over the last dimension, computed in fp32 and
/// rounded before the weight is applied, as transformers does.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    if fuses(x, weight) {
        return torch_ext_sys::rms_norm(x, weight, eps);
    }
    let x32 = x.to_kind(Kind::Float);
    let mean_square = x32.square().mean_dim([-1i64].as_slice(), true, Kind::Float);
    (x32 * (mean_square + eps).rsqrt()).to_kind(x.kind()) * weight
}

/// Whether the fused kernels take `x` and `weight`.
fn fuses(x: &Tensor, weight: &Tensor) -> bool {
    let kind = x.kind();
    let known = matches!(kind, Kind::Float | Kind::BFloat16) && kind == weight.kind();
    x.device() == Device::Cpu && x.dim() == 2 && known
}

/// [`rms_norm`] of `x` `[T, H]` and the projection that reads it, `[T, out]`.
pub fn rms_norm_linear(
    x: &Tensor,
    (norm, eps): (&Tensor, f64),
    projection: &Weight,
    bias: Option<&Weight>,
) -> Tensor {
    match projection.alone(bias) {
        Some(plain) if fuses(x, norm) => torch_ext_sys::rms_norm_linear(x, norm, eps, plain),
        _ => projection.apply(&rms_norm(x, norm, eps), bias),
    }
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

/// silu(gate) * up for `gate_up` `[T, 2 I]` (arXiv 2002.05202).
pub fn swiglu(gate_up: &Tensor) -> Tensor {
    if gate_up.device() == Device::Cpu {
        return torch_ext_sys::swiglu(gate_up);
    }
    let halves = gate_up.chunk(2, 1);
    halves[0].silu() * &halves[1]
}

/// [`swiglu`] of `gate_up` `[T, 2 I]` and the projection that reads it, `[T, out]`.
pub fn swiglu_linear(gate_up: &Tensor, projection: &Weight, bias: Option<&Weight>) -> Tensor {
    match projection.alone(bias) {
        Some(plain) if fuses(gate_up, plain.weight) => torch_ext_sys::swiglu_linear(gate_up, plain),
        _ => projection.apply(&swiglu(gate_up), bias),
    }
}

/// Rotary position embedding (arXiv 2104.09864) for the tokens of one batch.
#[derive(Debug)]
pub struct Rotary {
    /// Cosines `[T, dims / 2]`, fp32.
    pub cos_th: Tensor,
    /// Sines, likewise.
    pub sin_th: Tensor,
    /// Rotated dimensions of a head.
    pub dims: i64,
    kind: Kind,
}

impl Rotary {
    /// Angles for `positions` `[T]`, computed in fp64; [`Self::apply`] rounds
    /// the factors to `kind`.
    pub fn new(rope: &Rope, positions: &[i64], kind: Kind, device: Device) -> Self {
        let frequencies = Tensor::from_slice(&rope.inverse_frequencies());
        let positions = Tensor::from_slice(positions).to_kind(Kind::Double);
        let angles = positions.unsqueeze(1) * frequencies.unsqueeze(0);
        let place = |t: Tensor| t.to_kind(Kind::Float).to_device(device);
        Self {
            cos_th: place(angles.cos()),
            sin_th: place(angles.sin()),
            dims: rope.dims as i64,
            kind,
        }
    }

    /// Rotates `x` `[T, heads, D]`, pairing dimension i with i + dims / 2.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let head = x.size()[2];
        let half = self.dims / 2;
        let (low, high) = (x.narrow(2, 0, half), x.narrow(2, half, half));
        let cos = self.cos_th.to_kind(self.kind).unsqueeze(1);
        let sin = self.sin_th.to_kind(self.kind).unsqueeze(1);
        let mut out = vec![&low * &cos - &high * &sin, &high * &cos + &low * &sin];
        if self.dims < head {
            out.push(x.narrow(2, self.dims, head - self.dims));
        }
        Tensor::cat(&out, 2)
    }
}

/// Numbers of heads and their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads, N.
    pub queries: i64,
    /// Key and value heads, K.
    pub keys: i64,
    /// Head size, D.
    pub size: i64,
}

/// Attention over the tokens of a batch.
pub trait Attend {
    /// Attends in layer `layer`, counted from 0: rotated `q` `[T, N, D]` and
    /// `k`, and `v`, `[T, K, D]`, to `[T, N * D]`.
    fn attend(&self, layer: usize, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor;

    /// The same from the fused projection `qkv` `[T, (N + 2 K) D]`, before the
    /// rotation.
    fn attend_fused(&self, layer: usize, qkv: &Tensor, heads: Heads, rotary: &Rotary) -> Tensor {
        attend_unfused(self, layer, qkv, heads, rotary)
    }
}

/// [`Attend::attend_fused`] step by step.
pub fn attend_unfused<A: Attend + ?Sized>(
    attention: &A,
    layer: usize,
    qkv: &Tensor,
    heads: Heads,
    rotary: &Rotary,
) -> Tensor {
    let rotated = heads.queries + heads.keys;
    let qkv = qkv.view([-1, rotated + heads.keys, heads.size]);
    let qk = rotary.apply(&qkv.narrow(1, 0, rotated));
    attention.attend(
        layer,
        &qk.narrow(1, 0, heads.queries),
        &qk.narrow(1, heads.queries, heads.keys),
        &qkv.narrow(1, rotated, heads.keys),
    )
}
