//! Differentiable operations for the CPU that libtorch has only as chains of
//! small ones. fp32 and bf16; sums in fp32. All panic where libtorch throws, as
//! tch's own operators do: shapes are fixed by the model before any loop.

use std::ffi::c_int;
use std::ptr::{null, null_mut};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::check;

#[repr(C)]
struct RawPlan {
    cos: *const C_tensor,
    sin: *const C_tensor,
    spans: *const C_tensor,
    queries: i64,
    keys: i64,
    size: i64,
    rotated: i64,
}

unsafe extern "C" {
    fn moreline_tree_attention(
        qkv: *const C_tensor,
        plan: *const RawPlan,
        result: *mut *mut C_tensor,
    ) -> c_int;
    fn moreline_rms_norm(
        x: *const C_tensor,
        weight: *const C_tensor,
        eps: f64,
        result: *mut *mut C_tensor,
    ) -> c_int;
    fn moreline_swiglu(gate_up: *const C_tensor, result: *mut *mut C_tensor) -> c_int;
    fn moreline_rms_norm_linear(
        x: *const C_tensor,
        norm: *const C_tensor,
        eps: f64,
        weight: *const C_tensor,
        bias: *const C_tensor,
        result: *mut *mut C_tensor,
    ) -> c_int;
    fn moreline_swiglu_linear(
        gate_up: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        result: *mut *mut C_tensor,
    ) -> c_int;
}

fn made(call: impl FnOnce(*mut *mut C_tensor) -> c_int) -> Tensor {
    let mut result = null_mut();
    if let Err(error) = check(call(&mut result)) {
        panic!("{error}");
    }
    // SAFETY: on success it is a new handle that we own.
    unsafe { Tensor::from_ptr(result) }
}

/// RMSNorm of the rows of `x` `[T, H]`: x / sqrt(mean(x^2) + eps), rounded to
/// the dtype of `x`, times `weight` `[H]` (arXiv 1910.07467).
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    // SAFETY: live tensors, read during the call; one result.
    made(|result| unsafe { moreline_rms_norm(x.as_ptr(), weight.as_ptr(), eps, result) })
}

/// silu(gate) * up for `gate_up` `[T, 2 I]`: `[T, I]` (arXiv 2002.05202).
pub fn swiglu(gate_up: &Tensor) -> Tensor {
    // SAFETY: a live tensor, read during the call; one result.
    made(|result| unsafe { moreline_swiglu(gate_up.as_ptr(), result) })
}

/// A projection's weight `[out, in]` and bias `[out]`.
#[derive(Debug, Clone, Copy)]
pub struct Projection<'a> {
    /// `[out, in]`.
    pub weight: &'a Tensor,
    /// `[out]`, if there is one.
    pub bias: Option<&'a Tensor>,
}

impl Projection<'_> {
    fn bias(&self) -> *const C_tensor {
        self.bias.map_or(null(), |bias| bias.as_ptr())
    }
}

/// `projection` of [`rms_norm`]: `[T, out]`, to the same bits as in two steps,
/// gradients included; but what is between them is not kept for the backward
/// pass, which computes it anew (as in arXiv 2205.05198).
pub fn rms_norm_linear(x: &Tensor, norm: &Tensor, eps: f64, projection: Projection<'_>) -> Tensor {
    let (weight, bias) = (projection.weight.as_ptr(), projection.bias());
    // SAFETY: live tensors, or null for the bias, read during the call; one result.
    made(|result| unsafe {
        moreline_rms_norm_linear(x.as_ptr(), norm.as_ptr(), eps, weight, bias, result)
    })
}

/// `projection` of [`swiglu`], likewise.
pub fn swiglu_linear(gate_up: &Tensor, projection: Projection<'_>) -> Tensor {
    let (weight, bias) = (projection.weight.as_ptr(), projection.bias());
    // SAFETY: as above.
    made(|result| unsafe { moreline_swiglu_linear(gate_up.as_ptr(), weight, bias, result) })
}

/// How the T tokens of a batch attend.
#[derive(Debug)]
pub struct TreePlan<'a> {
    /// Cosines `[T, rotated / 2]`, fp32; anything if nothing rotates.
    pub cos: &'a Tensor,
    /// Sines, likewise.
    pub sin: &'a Tensor,
    /// First token, number of tokens (at least 1), and parent's row (-1 for
    /// none) of each span `[S, 3]`, int64; parents before children. The spans
    /// cover every token once.
    pub spans: &'a Tensor,
    /// Query heads, key heads, head size (an even number), rotated dimensions
    /// of a head.
    pub heads: [i64; 4],
}

/// Attention over token trees: every span sees itself causally and its
/// ancestors whole. From the projection `qkv` `[T, (heads + 2 kv_heads) *
/// size]`, whose queries and keys are first rotated by their position (arXiv
/// 2104.09864), to `[T, heads * size]`. Scores are scaled by `size`^-1/2; the
/// softmax is in fp32, its weights rounded to the dtype (arXiv 2307.08691).
pub fn tree_attention(qkv: &Tensor, plan: &TreePlan<'_>) -> Tensor {
    let raw = RawPlan {
        cos: plan.cos.as_ptr(),
        sin: plan.sin.as_ptr(),
        spans: plan.spans.as_ptr(),
        queries: plan.heads[0],
        keys: plan.heads[1],
        size: plan.heads[2],
        rotated: plan.heads[3],
    };
    // SAFETY: live tensors behind a plan that outlives the call; one result.
    made(|result| unsafe { moreline_tree_attention(qkv.as_ptr(), &raw, result) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const TOKENS: i64 = 150;

    /// Pseudo-random values in ±1, a leaf that wants a gradient.
    fn leaf(shape: &[i64], seed: i64, kind: Kind) -> Tensor {
        let count: i64 = shape.iter().product();
        let value = |i: i64| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        let values: Vec<f32> = (0..count).map(value).collect();
        let tensor = Tensor::from_slice(&values).view(shape).to_kind(kind);
        tensor.set_requires_grad(true)
    }

    /// Asserts that `two` steps and `one` give the same bits, as do the gradients
    /// of those `leaves` that want one.
    fn assert_same(two: &Tensor, one: &Tensor, leaves: &[&Tensor]) {
        assert!(two.equal(one), "results");
        let wanted: Vec<&Tensor> = leaves
            .iter()
            .copied()
            .filter(|t| t.requires_grad())
            .collect();
        let grad = leaf(&two.size(), 9, two.kind()).detach();
        let expected = crate::grad(&[two], &[&grad], &wanted).unwrap();
        let found = crate::grad(&[one], &[&grad], &wanted).unwrap();
        for (place, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let (expected, found) = (expected.as_ref().unwrap(), found.as_ref().unwrap());
            assert_eq!(expected.kind(), found.kind());
            assert!(expected.equal(found), "gradient {place}");
        }
    }

    #[test]
    fn a_norm_and_a_projection_are_one_as_in_two_steps() {
        for kind in [Kind::Float, Kind::BFloat16] {
            for (biased, frozen) in [(false, false), (true, false), (true, true)] {
                let (x, norm) = (leaf(&[TOKENS, 48], 1, kind), leaf(&[48], 2, kind));
                let weight = leaf(&[40, 48], 3, kind).set_requires_grad(!frozen);
                let bias = biased.then(|| leaf(&[40], 4, kind).set_requires_grad(!frozen));
                let two = rms_norm(&x, &norm, 1e-5).linear(&weight, bias.as_ref());
                let projection = Projection {
                    weight: &weight,
                    bias: bias.as_ref(),
                };
                let one = rms_norm_linear(&x, &norm, 1e-5, projection);
                let mut leaves = vec![&x, &norm, &weight];
                leaves.extend(&bias);
                assert_same(&two, &one, &leaves);
            }
        }
    }

    #[test]
    fn a_gated_product_and_a_projection_are_one_as_in_two_steps() {
        for kind in [Kind::Float, Kind::BFloat16] {
            for (biased, frozen) in [(false, false), (true, false), (false, true)] {
                let gate_up = leaf(&[TOKENS, 96], 1, kind);
                let weight = leaf(&[40, 48], 3, kind).set_requires_grad(!frozen);
                let bias = biased.then(|| leaf(&[40], 4, kind));
                let two = swiglu(&gate_up).linear(&weight, bias.as_ref());
                let projection = Projection {
                    weight: &weight,
                    bias: bias.as_ref(),
                };
                let one = swiglu_linear(&gate_up, projection);
                let mut leaves = vec![&gate_up, &weight];
                leaves.extend(&bias);
                assert_same(&two, &one, &leaves);
            }
        }
    }

    #[test]
    fn without_a_backward_pass_nothing_wants_a_gradient() {
        let weight = leaf(&[40, 48], 3, Kind::Float);
        let projection = Projection {
            weight: &weight,
            bias: None,
        };
        let gate_up = Tensor::ones([TOKENS, 96], (Kind::Float, Device::Cpu));
        let y = tch::no_grad(|| swiglu_linear(&gate_up, projection));
        assert!(!y.requires_grad());
    }
}
