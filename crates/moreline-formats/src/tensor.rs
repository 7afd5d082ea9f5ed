//! Tensors in host memory and the element types that files store.

use half::{bf16, f16};

/// The element type of a tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 64-bit float; read as `f32`.
    F64,
    /// 32-bit float.
    F32,
    /// 16-bit float with 8 exponent bits.
    Bf16,
    /// 16-bit IEEE float.
    F16,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer; read as `i64`.
    I32,
    /// A GGUF block-quantised type, by its GGUF name such as `Q4_K`; read as `f32`.
    Quantised(&'static str),
    /// A type that can be listed but not read, by its name in the file.
    Other(&'static str),
}

impl Dtype {
    /// The name safetensors gives the type, or the GGUF name of a quantised one.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::Quantised(name) | Self::Other(name) => name,
        }
    }
}

/// What a file says about one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name; in a [`crate::WeightStore`] the Hugging Face name.
    pub name: String,
    /// Its element type in the file.
    pub dtype: Dtype,
    /// Its shape, outermost dimension first; empty for a scalar.
    pub shape: Vec<usize>,
}

/// A dense row-major tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Outermost dimension first; the product is `data.len()`.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: HostData,
}

/// The elements of a [`HostTensor`].
#[derive(Debug, Clone, PartialEq)]
pub enum HostData {
    /// 32-bit floats: stored as such, or dequantised, or narrowed from 64 bits.
    F32(Vec<f32>),
    /// bfloat16, as stored.
    Bf16(Vec<bf16>),
    /// float16, as stored.
    F16(Vec<f16>),
    /// 64-bit integers: stored as such, or widened from 32 bits (token ids, step counters).
    I64(Vec<i64>),
}

impl HostData {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::Bf16(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::I64(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::Bf16(_) => Dtype::Bf16,
            Self::F16(_) => Dtype::F16,
            Self::I64(_) => Dtype::I64,
        }
    }

    /// The elements as `f32`, rounding integers beyond 2^24.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(v) => v,
            Self::Bf16(v) => v.into_iter().map(bf16::to_f32).collect(),
            Self::F16(v) => v.into_iter().map(f16::to_f32).collect(),
            Self::I64(v) => v.into_iter().map(|x| x as f32).collect(),
        }
    }
}
