//! Differentiable operations for the CPU that libtorch has only as chains of
//! small ones. fp32 and bf16; sums in fp32. All panic where libtorch throws, as
//! tch's own operators do: shapes are fixed by the model before any loop.

use std::ffi::c_int;
use std::ptr::null_mut;

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
