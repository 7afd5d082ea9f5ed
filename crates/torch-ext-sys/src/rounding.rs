//! fp32 to bf16 without losing small changes on average.

use std::ffi::c_int;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::check;

unsafe extern "C" {
    fn moreline_round_dithered(
        from: *const C_tensor,
        to: *mut C_tensor,
        by_operators: c_int,
    ) -> c_int;
}

/// Round fp32 `from` `[N]` into bf16 `to` `[N]`, on any device: each element to
/// one of its two neighbours, by a threshold that is hashed from its place.
///
/// An element that bf16 holds exactly stays as it is. Over many elements the
/// mean of what is added to them survives, whatever grid they lie on, as in
/// stochastic rounding (arXiv 1502.02551); the same input gives the same output,
/// whatever the number of threads. Panics on other dtypes, on other shapes and
/// on views that are not contiguous.
pub fn round_dithered(from: &Tensor, to: &mut Tensor) {
    round(from, to, false);
}

/// [`round_dithered`] as it is done on devices other than the CPU, for comparison.
pub fn round_dithered_by_operators(from: &Tensor, to: &mut Tensor) {
    round(from, to, true);
}

fn round(from: &Tensor, to: &mut Tensor, by_operators: bool) {
    let by_operators = c_int::from(by_operators);
    // SAFETY: live tensors, the second written; C++ checks that they fit.
    let code = unsafe { moreline_round_dithered(from.as_ptr(), to.as_mut_ptr(), by_operators) };
    if let Err(error) = check(code) {
        panic!("{error}");
    }
}
