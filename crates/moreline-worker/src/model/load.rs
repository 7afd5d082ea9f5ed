//! From model files to flat tensors.

use std::path::Path;

use half::{bf16, f16};
use moreline_formats::{FormatError, HostData, HostTensor, ModelConfig, WeightStore};
use moreline_protocol::spec::Precision;
use tch::{Device, Kind, Tensor};

use super::layout::{Part, Segment};
use super::{Decoder, Head};
use crate::device;
use crate::error::WorkerError;

/// A decoder and its weights, one flat tensor per segment.
#[derive(Debug)]
pub struct LoadedModel {
    /// The topology.
    pub decoder: Decoder,
    /// Flat parameters, in the order of [`Decoder::segments`]. The final norm
    /// and a reward head are fp32 whatever the precision; the rest is as asked.
    pub flats: Vec<Tensor>,
    /// Where they are.
    pub device: Device,
}

/// The dtype of matrix products at a precision: fp32 for both where the processor
/// can multiply bf16 matrices only by emulation, far slower.
pub fn compute_kind(precision: Precision) -> Kind {
    match precision {
        Precision::Bf16 if device::emulates_bf16() => Kind::Float,
        other => stored_kind(other),
    }
}

/// The dtype of weights in files of a precision.
pub fn stored_kind(precision: Precision) -> Kind {
    match precision {
        Precision::Bf16 => Kind::BFloat16,
        Precision::Fp32 => Kind::Float,
    }
}

impl LoadedModel {
    /// Reads a model: a Hugging Face directory or a `.gguf` file. For a reward
    /// head the files must hold `score.weight`.
    ///
    /// # Errors
    /// Missing files or tensors, wrong shapes (both named), unreadable headers.
    pub fn open(path: &Path, head: Head, kind: Kind, device: Device) -> Result<Self, WorkerError> {
        Self::read(path, head, kind, device, None)
    }

    /// Reads a language model and puts a new reward head on it: `score` `[H]`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_new_reward_head(
        path: &Path,
        kind: Kind,
        device: Device,
        score: &dyn Fn(&ModelConfig) -> Tensor,
    ) -> Result<Self, WorkerError> {
        Self::read(path, Head::Reward, kind, device, Some(score))
    }

    fn read(
        path: &Path,
        head: Head,
        kind: Kind,
        device: Device,
        score: Option<&dyn Fn(&ModelConfig) -> Tensor>,
    ) -> Result<Self, WorkerError> {
        let config = ModelConfig::load(path)?;
        if head == Head::Reward && score.is_none() && !config.is_reward_model() {
            return Err(WorkerError::input(
                format!(
                    "use {} as a reward model: it has no reward head",
                    path.display()
                ),
                "train one with a `train-reward` stage, or name the output of one",
            ));
        }
        let store = WeightStore::open(path)?;
        let decoder = Decoder::new(config, head);
        let norm = decoder.norm_index();
        let mut flats = Vec::with_capacity(decoder.segments.len());
        for (index, segment) in decoder.segments.iter().enumerate() {
            let fp32 = index == norm || (head == Head::Reward && index > norm);
            let kind = if fp32 { Kind::Float } else { kind };
            let flat = match score {
                Some(score) if index > norm => score(&decoder.config).view([-1]).to_kind(kind),
                _ => read_segment(&store, segment, kind)?,
            };
            flats.push(flat.to_device(device));
        }
        Ok(Self {
            decoder,
            flats,
            device,
        })
    }

    /// The language-model head `[V * H]` of a model's files, fp32; `None` if it
    /// is the embedding.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn lm_head(
        path: &Path,
        config: &ModelConfig,
        device: Device,
    ) -> Result<Option<Tensor>, WorkerError> {
        let Some(segment) = Decoder::lm_head_segment(config) else {
            return Ok(None);
        };
        let store = WeightStore::open(path)?;
        let flat = read_segment(&store, &segment, Kind::Float)?;
        Ok(Some(flat.to_device(device)))
    }

    /// Rotary factors, embeddings and activations have this dtype.
    pub fn kind(&self) -> Kind {
        self.flats[0].kind()
    }
}

fn read_segment(store: &WeightStore, segment: &Segment, kind: Kind) -> Result<Tensor, FormatError> {
    let shape = |part: &Part| -> Vec<usize> { part.shape.iter().map(|&n| n as usize).collect() };
    // The sizes are the configuration's: they are not believed before the file agrees.
    for (_, part) in segment.parts() {
        if store.get(&part.name).is_none() {
            store.read(&part.name)?;
        }
        store.check_shape(&part.name, &shape(part))?;
    }
    let flat = Tensor::zeros([segment.numel()], (kind, Device::Cpu));
    for (offset, part) in segment.parts() {
        let tensor = host_to_tensor(store.read_shaped(&part.name, &shape(part))?);
        flat.narrow(0, offset, part.numel())
            .copy_(&tensor.view([-1]));
    }
    Ok(flat)
}

/// A tensor of the host's, copied; the dtype stays.
pub fn host_to_tensor(host: HostTensor) -> Tensor {
    let shape: Vec<i64> = host.shape.iter().map(|&n| n as i64).collect();
    match host.data {
        HostData::F32(data) => Tensor::from_slice(&data),
        HostData::I64(data) => Tensor::from_slice(&data),
        // tch takes bf16 for fp16: 16-bit floats travel as integers.
        HostData::Bf16(data) => from_bits(data.iter().map(|x| x.to_bits()), Kind::BFloat16),
        HostData::F16(data) => from_bits(data.iter().map(|x| x.to_bits()), Kind::Half),
    }
    .view(shape.as_slice())
}

/// A 16-bit float tensor from its bit patterns.
fn from_bits(bits: impl Iterator<Item = u16>, kind: Kind) -> Tensor {
    let bits: Vec<i16> = bits.map(u16::cast_signed).collect();
    Tensor::from_slice(&bits).view_dtype(kind)
}

/// The bit patterns of a flat 16-bit float tensor.
fn bits(flat: &Tensor) -> impl Iterator<Item = u16> {
    let flat = flat.view_dtype(Kind::Int16);
    let mut data = vec![0i16; flat.numel()];
    flat.copy_data(&mut data, flat.numel());
    data.into_iter().map(i16::cast_unsigned)
}

/// A copy in the host's memory; fp32, bf16, fp16 and int64 keep their dtype.
///
/// # Panics
/// For any other dtype: nothing of ours has one.
pub fn tensor_to_host(tensor: &Tensor) -> HostTensor {
    let shape = tensor.size().iter().map(|&n| n as usize).collect();
    let flat = tensor.to_device(Device::Cpu).contiguous().view([-1]);
    fn copy<T: tch::kind::Element + Copy + Default>(flat: &Tensor) -> Vec<T> {
        let mut data = vec![T::default(); flat.numel()];
        flat.copy_data(&mut data, flat.numel());
        data
    }
    let data = match flat.kind() {
        Kind::Float => HostData::F32(copy(&flat)),
        Kind::BFloat16 => HostData::Bf16(bits(&flat).map(bf16::from_bits).collect()),
        Kind::Half => HostData::F16(bits(&flat).map(f16::from_bits).collect()),
        Kind::Int64 => HostData::I64(copy(&flat)),
        kind => panic!("no tensor of ours is {kind:?}"),
    };
    HostTensor { shape, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bit_floats_go_to_the_host_and_back() {
        let values = [1.0f32, -2.5, 0.0, 1024.0];
        for kind in [Kind::BFloat16, Kind::Half, Kind::Float] {
            let tensor = Tensor::from_slice(&values).view([2, 2]).to_kind(kind);
            let host = tensor_to_host(&tensor);
            assert_eq!(host.shape, [2, 2]);
            assert_eq!(host.data.clone().into_f32(), values);
            let back = host_to_tensor(host);
            assert_eq!(back.kind(), kind);
            assert_eq!(
                Vec::<f32>::try_from(&back.to_kind(Kind::Float).view([-1])).unwrap(),
                values
            );
        }
    }
}
