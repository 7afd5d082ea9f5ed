//! The device and its numerics.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use moreline_protocol::event::Fingerprint;
use moreline_protocol::job::Resources;
use tch::{Cuda, Device, Kind, Tensor};

use crate::error::WorkerError;
use crate::parallel;

/// Largest relative error at which oneDNN's fp32 route is accepted: what sgemm
/// itself shows. Rounding to bf16 would give 1e-3.
const FP32_ERROR: f64 = 1e-5;

/// Whether bf16 products would be emulated on the device in use.
static EMULATED: AtomicBool = AtomicBool::new(false);

/// Whether the device that was readied multiplies bf16 matrices only by
/// emulation: an x86 processor without AVX-512's bf16 instructions, which those
/// with AMX have as well.
pub fn emulates_bf16() -> bool {
    EMULATED.load(Ordering::Relaxed)
}

/// Readies the device and says what the last bits depend on.
///
/// # Errors
/// An unknown or absent device.
pub fn prepare(resources: &Resources) -> Result<(Device, Fingerprint), WorkerError> {
    let device = parse(&resources.device)?;
    if let Some(threads) = resources.threads {
        tch::set_num_threads(threads.max(1) as i32);
    }
    let threads = tch::get_num_threads() as u32;
    parallel::limit(threads as usize);
    torch_ext_sys::keep_large_blocks();
    let emulated = device == Device::Cpu && cfg!(target_arch = "x86_64") && !multiplies_bf16();
    EMULATED.store(emulated, Ordering::Relaxed);
    let fp32_matmul = match device {
        Device::Cpu => choose_fp32_route()?,
        _ => {
            torch_ext_sys::set_deterministic(true)?;
            "highest"
        }
    };
    let fingerprint = Fingerprint {
        libtorch: torch_ext_sys::libtorch_version(),
        device: resources.device.clone(),
        instructions: instructions(),
        threads,
        fp32_matmul: fp32_matmul.into(),
        token_budget: Some(resources.token_budget),
    };
    Ok((device, fingerprint))
}

/// What computes here, in one line: libtorch's version, the instruction set its
/// kernels use, the number of CUDA devices it sees.
pub fn found() -> String {
    let cuda = torch_ext_sys::load_cuda().map_or(0, |()| Cuda::device_count().max(0));
    let libtorch = torch_ext_sys::libtorch_version();
    let instructions = instructions();
    format!("libtorch {libtorch}, {instructions}, {cuda} CUDA devices")
}

/// The instruction set of libtorch's kernels, for example `AVX512`; with
/// `+BF16` where oneDNN multiplies bf16 matrices with instructions of their own.
fn instructions() -> String {
    let bf16 = if multiplies_bf16() { "+BF16" } else { "" };
    format!("{}{bf16}", torch_ext_sys::cpu_capability())
}

/// Whether an x86 processor has instructions for bf16 products and libtorch's
/// kernels may use them.
fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has && torch_ext_sys::cpu_capability().starts_with("AVX512")
}

fn parse(name: &str) -> Result<Device, WorkerError> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => Some(0),
        other => other.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
    };
    let Some(index) = index else {
        return Err(WorkerError::input(
            format!("use the device `{name}`"),
            "devices are `cpu`, `cuda` and `cuda:N`",
        ));
    };
    let absent = |why: String| {
        WorkerError::input(
            format!("use the device `{name}`: {why}"),
            "take `cpu`, or set libtorch up with `make libtorch-cuda` on a machine with a GPU",
        )
    };
    torch_ext_sys::load_cuda().map_err(|error| absent(error.to_string()))?;
    let found = Cuda::device_count().max(0) as usize;
    if index >= found {
        return Err(absent(format!("{found} CUDA devices are here")));
    }
    Ok(Device::Cuda(index))
}

/// Lets oneDNN multiply fp32 matrices if it does so at full precision here: on
/// some processors it is twice as fast, on others it rounds to bf16. Tried once
/// per process, since meanwhile every thread's products take that route.
fn choose_fp32_route() -> Result<&'static str, WorkerError> {
    static ROUTE: OnceLock<Result<&str, torch_ext_sys::Error>> = OnceLock::new();
    let route = ROUTE.get_or_init(|| {
        torch_ext_sys::set_float32_matmul_precision("medium")?;
        if product_error() <= FP32_ERROR {
            return Ok("medium");
        }
        torch_ext_sys::set_float32_matmul_precision("highest")?;
        Ok("highest")
    });
    Ok(route.clone()?)
}

/// Relative error of an fp32 product of the shape of a real layer.
fn product_error() -> f64 {
    let element = |i: i64| ((i * 7919 + 13) % 2003) as f32 / 2003.0 - 0.5;
    let matrix = |rows: i64, columns: i64| {
        let values: Vec<f32> = (0..rows * columns).map(element).collect();
        Tensor::from_slice(&values).view([rows, columns])
    };
    let (a, b) = (matrix(128, 576), matrix(576, 256));
    let exact = a.to_kind(Kind::Double).matmul(&b.to_kind(Kind::Double));
    let error = (a.matmul(&b).to_kind(Kind::Double) - &exact).norm() / exact.norm();
    error.double_value(&[])
}
