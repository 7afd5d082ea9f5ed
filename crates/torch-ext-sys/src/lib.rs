//! The few operations of libtorch that `tch` does not bind, behind safe functions.
//!
//! This is the only crate with `unsafe` code. Every call into C++ catches all
//! exceptions there; their messages come back as [`Error`].

use std::ffi::{CStr, CString, c_char, c_int};

use tch::Tensor;
use torch_sys::C_tensor;

mod fused;
mod rounding;

pub use fused::{
    Projection, TreePlan, rms_norm, rms_norm_linear, swiglu, swiglu_linear, tree_attention,
};
pub use rounding::{round_dithered, round_dithered_by_operators};

unsafe extern "C" {
    fn moreline_last_error() -> *const c_char;
    fn moreline_grad(
        outputs: *const *mut C_tensor,
        grad_outputs: *const *mut C_tensor,
        output_count: usize,
        inputs: *const *mut C_tensor,
        input_count: usize,
        results: *mut *mut C_tensor,
    ) -> c_int;
    fn moreline_adamw(
        parameter: *mut C_tensor,
        gradient: *mut C_tensor,
        first_moment: *mut C_tensor,
        second_moment: *mut C_tensor,
        step: f64,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> c_int;
    fn moreline_set_float32_matmul_precision(precision: *const c_char) -> c_int;
    fn moreline_set_deterministic(on: c_int) -> c_int;
    fn moreline_load_cuda() -> c_int;
    fn moreline_kernel_threads() -> c_int;
    fn moreline_libtorch_version() -> *const c_char;
    fn moreline_cpu_capability() -> *const c_char;
    fn moreline_keep_large_blocks();
    fn moreline_give_back_memory();
}

/// A C++ exception, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "libtorch: {}", self.0.lines().next().unwrap_or_default())
    }
}

impl std::error::Error for Error {}

fn check(code: c_int) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the shim returns a NUL-terminated string owned by this thread,
    // alive until its next failing call.
    let message = unsafe { CStr::from_ptr(moreline_last_error()) };
    Err(Error(message.to_string_lossy().into_owned()))
}

fn pointers(tensors: &[&Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|t| t.as_ptr().cast_mut()).collect()
}

/// Gradients of `outputs` with respect to `inputs`, given the gradients of the
/// outputs (same shapes and dtypes as the outputs). `None` where the outputs do
/// not depend on an input. Frees the graph.
///
/// # Errors
/// What libtorch throws: mismatched shapes, outputs without a graph.
///
/// # Panics
/// If `outputs` and `grad_outputs` differ in number.
pub fn grad(
    outputs: &[&Tensor],
    grad_outputs: &[&Tensor],
    inputs: &[&Tensor],
) -> Result<Vec<Option<Tensor>>, Error> {
    assert_eq!(outputs.len(), grad_outputs.len(), "one gradient per output");
    let (outputs, grad_outputs) = (pointers(outputs), pointers(grad_outputs));
    let inputs = pointers(inputs);
    let mut results = vec![std::ptr::null_mut(); inputs.len()];
    // SAFETY: all pointers come from live tensors; the shim only copies the
    // handles and writes one owned handle or null per input.
    check(unsafe {
        moreline_grad(
            outputs.as_ptr(),
            grad_outputs.as_ptr(),
            outputs.len(),
            inputs.as_ptr(),
            inputs.len(),
            results.as_mut_ptr(),
        )
    })?;
    // SAFETY: each non-null result is a new handle that we own.
    let own = |p: *mut C_tensor| (!p.is_null()).then(|| unsafe { Tensor::from_ptr(p) });
    Ok(results.into_iter().map(own).collect())
}

/// Settings of one AdamW step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Number of this step, from 1 (for the bias corrections).
    pub step: u64,
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// Decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// One fused AdamW step, in place, on four fp32 tensors of one shape.
///
/// # Errors
/// What libtorch throws: shapes or dtypes that differ.
pub fn adamw(
    settings: &AdamW,
    parameter: &mut Tensor,
    gradient: &Tensor,
    moments: (&mut Tensor, &mut Tensor),
) -> Result<(), Error> {
    // SAFETY: four live tensors; the shim writes through their storage, as any
    // in-place operator of tch does.
    check(unsafe {
        moreline_adamw(
            parameter.as_mut_ptr(),
            gradient.as_ptr().cast_mut(),
            moments.0.as_mut_ptr(),
            moments.1.as_mut_ptr(),
            settings.step as f64,
            settings.lr,
            settings.betas[0],
            settings.betas[1],
            settings.weight_decay,
            settings.eps,
        )
    })
}

/// Route of fp32 matrix products: `highest` is sgemm; `medium` lets oneDNN
/// choose, which may round to bf16 on some processors: check before keeping it.
///
/// # Errors
/// An unknown name.
pub fn set_float32_matmul_precision(precision: &str) -> Result<(), Error> {
    let precision = CString::new(precision).map_err(|e| Error(e.to_string()))?;
    // SAFETY: a NUL-terminated string, read during the call only.
    check(unsafe { moreline_set_float32_matmul_precision(precision.as_ptr()) })
}

/// Make operators that have a deterministic form use it, and others fail.
///
/// # Errors
/// What libtorch throws.
pub fn set_deterministic(on: bool) -> Result<(), Error> {
    // SAFETY: no pointers.
    check(unsafe { moreline_set_deterministic(c_int::from(on)) })
}

/// Load libtorch's CUDA half, which programs do not link: one that computes on
/// the CPU then does not load it. Call it before asking for CUDA devices, and
/// before other threads run: it sets `CUBLAS_WORKSPACE_CONFIG` where that is unset.
///
/// # Errors
/// libtorch is the CPU flavour, or a library of CUDA is missing.
pub fn load_cuda() -> Result<(), Error> {
    // SAFETY: no pointers.
    check(unsafe { moreline_load_cuda() })
}

/// The threads that the kernels of this crate are spread over: those of libtorch,
/// or 1 where the crate was compiled without OpenMP.
pub fn kernel_threads() -> usize {
    // SAFETY: no pointers; the loop's body counts and throws nothing.
    usize::try_from(unsafe { moreline_kernel_threads() }).unwrap_or(1)
}

/// Version of the libtorch this program was compiled with, for example `2.13.0`.
pub fn libtorch_version() -> String {
    // SAFETY: a static NUL-terminated string.
    unsafe { CStr::from_ptr(moreline_libtorch_version()) }
        .to_string_lossy()
        .into_owned()
}

/// Highest instruction set libtorch's kernels use here, for example `AVX512`.
pub fn cpu_capability() -> String {
    // SAFETY: a NUL-terminated string owned by this thread.
    unsafe { CStr::from_ptr(moreline_cpu_capability()) }
        .to_string_lossy()
        .into_owned()
}

/// Tell glibc's allocator to keep freed large blocks: mapping them anew for
/// every activation costs more than the arithmetic on it.
pub fn keep_large_blocks() {
    // SAFETY: sets two allocator parameters; no pointers.
    unsafe { moreline_keep_large_blocks() }
}

/// Give the pages of freed blocks back to the system: what is kept for the next
/// use is in holes of the sizes of earlier ones, and grows.
pub fn give_back_memory() {
    // SAFETY: touches free memory only; no pointers.
    unsafe { moreline_give_back_memory() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn grad_takes_output_gradients_and_marks_unused_inputs() {
        let x = Tensor::from_slice(&[1.0f32, 2.0]).set_requires_grad(true);
        let unused = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
        let y = &x * &x;
        let weights = Tensor::from_slice(&[3.0f32, 5.0]);
        let grads = grad(&[&y], &[&weights], &[&x, &unused]).unwrap();
        let got = Vec::<f32>::try_from(grads[0].as_ref().unwrap()).unwrap();
        assert_eq!(got, [6.0, 20.0]);
        assert!(grads[1].is_none());
    }

    #[test]
    fn a_cpp_exception_becomes_an_error() {
        let x = Tensor::from_slice(&[1.0f32]);
        let error = grad(&[&x], &[&x], &[&x]).unwrap_err();
        assert!(error.to_string().contains("grad"), "{error}");
    }

    #[test]
    fn adamw_follows_the_closed_form_of_the_first_step() {
        let mut p = Tensor::from_slice(&[1.0f32, -2.0]);
        let g = Tensor::from_slice(&[0.5f32, -0.25]);
        let (mut m, mut v) = (g.zeros_like(), g.zeros_like());
        let settings = AdamW {
            step: 1,
            lr: 0.1,
            betas: [0.9, 0.999],
            weight_decay: 0.01,
            eps: 1e-8,
        };
        adamw(&settings, &mut p, &g, (&mut m, &mut v)).unwrap();
        // After one step the corrected moments are g and g^2: p (1 - lr wd) - lr sign(g).
        let expected = Tensor::from_slice(&[1.0f32 * 0.999 - 0.1, -2.0 * 0.999 + 0.1]);
        assert!((p - expected).abs().max().double_value(&[]) < 1e-6);
        assert_eq!(m.kind(), Kind::Float);
    }

    #[test]
    fn kernels_are_spread_over_the_threads_of_libtorch() {
        for threads in [1, 3] {
            tch::set_num_threads(threads);
            assert_eq!(kernel_threads(), threads as usize);
        }
    }

    #[test]
    fn the_version_is_the_one_tch_wants() {
        assert!(libtorch_version().starts_with("2.13"));
        assert!(!cpu_capability().is_empty());
    }
}
