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
    query_index: *const C_tensor,
    key_index: *const C_tensor,
    query_row: *const C_tensor,
    key_offsets: *const C_tensor,
    key_rows: *const C_tensor,
    queries: i64,
    keys: i64,
    size: i64,
    rotated: i64,
}

unsafe extern "C" {
    fn moreline_gather_rows(
        x: *const C_tensor,
        index: *const C_tensor,
        inverse: *const C_tensor,
        result: *mut *mut C_tensor,
    ) -> c_int;
    fn moreline_rotary_gather(
        qkv: *const C_tensor,
        plan: *const RawPlan,
        results: *mut *mut C_tensor,
    ) -> c_int;
    fn moreline_rms_norm(
        x: *const C_tensor,
        weight: *const C_tensor,
        eps: f64,
        result: *mut *mut C_tensor,
    ) -> c_int;
    fn moreline_swiglu(gate_up: *const C_tensor, result: *mut *mut C_tensor) -> c_int;
}

fn made<const N: usize>(call: impl FnOnce(*mut *mut C_tensor) -> c_int) -> [Tensor; N] {
    let mut results = [null_mut(); N];
    if let Err(error) = check(call(results.as_mut_ptr())) {
        panic!("{error}");
    }
    // SAFETY: on success every entry is a new handle that we own.
    results.map(|handle| unsafe { Tensor::from_ptr(handle) })
}

/// Rows `x[index[r]]` of `x` `[T, C]`, zeros where the index `[R]` is negative.
/// `inverse` `[T]` says for each row of `x` which row of the result holds it,
/// or -1: the gradient is a gather too. No row may be taken twice, except where
/// its gradient is known to be zero.
pub fn gather_rows(x: &Tensor, index: &Tensor, inverse: &Tensor) -> Tensor {
    // SAFETY: live tensors, read during the call; one result.
    let [out] = made(|results| unsafe {
        moreline_gather_rows(x.as_ptr(), index.as_ptr(), inverse.as_ptr(), results)
    });
    out
}

/// RMSNorm of the rows of `x` `[T, H]`: x / sqrt(mean(x^2) + eps), rounded to
/// the dtype of `x`, times `weight` `[H]` (arXiv 1910.07467).
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    // SAFETY: live tensors, read during the call; one result.
    let [out] =
        made(|results| unsafe { moreline_rms_norm(x.as_ptr(), weight.as_ptr(), eps, results) });
    out
}

/// silu(gate) * up for `gate_up` `[T, 2 I]`: `[T, I]` (arXiv 2002.05202).
pub fn swiglu(gate_up: &Tensor) -> Tensor {
    // SAFETY: a live tensor, read during the call; one result.
    let [out] = made(|results| unsafe { moreline_swiglu(gate_up.as_ptr(), results) });
    out
}

/// Where each row of an attention batch comes from, and the way back. Indices
/// are int64, T tokens, Q query rows, K key rows.
#[derive(Debug)]
pub struct RotaryPlan<'a> {
    /// Cosines `[T, rotated / 2]`, fp32.
    pub cos: &'a Tensor,
    /// Sines, likewise.
    pub sin: &'a Tensor,
    /// Token of each query row `[Q]`.
    pub query_index: &'a Tensor,
    /// Token of each key row `[K]`.
    pub key_index: &'a Tensor,
    /// The query row of each token `[T]`; other rows that repeat it get no gradient.
    pub query_row: &'a Tensor,
    /// Start of each token's key rows in `key_rows` `[T + 1]`.
    pub key_offsets: &'a Tensor,
    /// Key rows, token after token.
    pub key_rows: &'a Tensor,
    /// Query heads, key heads, head size, rotated dimensions of a head.
    pub heads: [i64; 4],
}

/// Queries `[Q, heads * size]`, keys and values `[K, kv_heads * size]` of an
/// attention batch from the fused projection `qkv` `[T, (heads + 2 kv_heads) *
/// size]`, queries and keys rotated by their position (arXiv 2104.09864).
pub fn rotary_gather(qkv: &Tensor, plan: &RotaryPlan<'_>) -> [Tensor; 3] {
    let raw = RawPlan {
        cos: plan.cos.as_ptr(),
        sin: plan.sin.as_ptr(),
        query_index: plan.query_index.as_ptr(),
        key_index: plan.key_index.as_ptr(),
        query_row: plan.query_row.as_ptr(),
        key_offsets: plan.key_offsets.as_ptr(),
        key_rows: plan.key_rows.as_ptr(),
        queries: plan.heads[0],
        keys: plan.heads[1],
        size: plan.heads[2],
        rotated: plan.heads[3],
    };
    // SAFETY: live tensors behind a plan that outlives the call; three results.
    made(|results| unsafe { moreline_rotary_gather(qkv.as_ptr(), &raw, results) })
}
