//! A GGUF file's tensors as Hugging Face has them: names, and the row order of LLaMA's query and
//! key projections.

use std::collections::HashSet;

use crate::error::FormatError;
use crate::gguf::{Gguf, GgufTensor};
use crate::model_config::{Architecture, ModelConfig};
use crate::tensor::{HostData, HostTensor, TensorInfo};

/// What a tensor of the file becomes.
#[derive(Debug)]
struct Mapped {
    /// Index in the file.
    index: usize,
    name: String,
    /// The heads whose rows are interleaved, if they are.
    interleaved_heads: Option<usize>,
}

/// An opened GGUF model.
#[derive(Debug)]
pub(super) struct GgufWeights {
    gguf: Gguf,
    mapped: Vec<Mapped>,
}

impl GgufWeights {
    pub(super) fn new(gguf: Gguf) -> Result<Self, FormatError> {
        let config = ModelConfig::from_gguf(&gguf)?;
        let mut names = HashSet::new();
        let mut mapped = Vec::new();
        for (index, tensor) in gguf.tensors().iter().enumerate() {
            // Frequencies are part of the configuration, see `model_config`.
            if tensor.name == "rope_freqs.weight" {
                continue;
            }
            let name = hugging_face_name(&tensor.name).ok_or_else(|| {
                let reason = "its name belongs to no part of the architecture";
                FormatError::tensor(gguf.path(), &tensor.name, reason)
            })?;
            let interleaved_heads = interleaved_heads(&config, &name);
            if let Some(heads) = interleaved_heads {
                check_rows(&gguf, tensor, heads)?;
            }
            if !names.insert(name.clone()) {
                return Err(FormatError::tensor(
                    gguf.path(),
                    &tensor.name,
                    "it is listed twice",
                ));
            }
            mapped.push(Mapped {
                index,
                name,
                interleaved_heads,
            });
        }
        Ok(Self { gguf, mapped })
    }

    pub(super) fn infos(&self) -> Vec<TensorInfo> {
        let info = |mapped: &Mapped| {
            let tensor = &self.gguf.tensors()[mapped.index];
            TensorInfo {
                name: mapped.name.clone(),
                dtype: tensor.ggml_type.dtype(),
                shape: tensor.shape.clone(),
            }
        };
        self.mapped.iter().map(info).collect()
    }

    /// Reads the tensor at that place of [`GgufWeights::infos`].
    pub(super) fn read(&self, at: usize) -> Result<HostTensor, FormatError> {
        let mapped = &self.mapped[at];
        let mut tensor = self.gguf.read(&self.gguf.tensors()[mapped.index])?;
        if let Some(heads) = mapped.interleaved_heads {
            let rows = tensor.shape[0];
            tensor.data = match tensor.data {
                HostData::F32(v) => HostData::F32(separate_halves(&v, rows, heads)),
                HostData::Bf16(v) => HostData::Bf16(separate_halves(&v, rows, heads)),
                HostData::F16(v) => HostData::F16(separate_halves(&v, rows, heads)),
                HostData::I64(v) => HostData::I64(v),
            };
        }
        Ok(tensor)
    }
}

fn check_rows(gguf: &Gguf, tensor: &GgufTensor, heads: usize) -> Result<(), FormatError> {
    match tensor.shape.first() {
        Some(&rows) if rows > 0 && rows % (2 * heads) == 0 => Ok(()),
        _ => {
            let reason = format!(
                "its shape {:?} does not divide into {heads} heads",
                tensor.shape
            );
            Err(FormatError::tensor(gguf.path(), &tensor.name, reason))
        }
    }
}

/// LLaMA's converter stores query and key rows so that rotary pairs are neighbours; Qwen2's does
/// not.
fn interleaved_heads(config: &ModelConfig, name: &str) -> Option<usize> {
    if config.architecture != Architecture::Llama {
        return None;
    }
    if name.contains(".q_proj.") {
        Some(config.heads)
    } else if name.contains(".k_proj.") {
        Some(config.kv_heads)
    } else {
        None
    }
}

/// Within each head, moves row `2 i + j` to row `j * head_dim / 2 + i`.
fn separate_halves<T: Copy>(data: &[T], rows: usize, heads: usize) -> Vec<T> {
    let columns = data.len() / rows;
    let head_dim = rows / heads;
    let mut out = Vec::with_capacity(data.len());
    for head in 0..heads {
        for half in 0..2 {
            for pair in 0..head_dim / 2 {
                let row = head * head_dim + 2 * pair + half;
                out.extend_from_slice(&data[row * columns..(row + 1) * columns]);
            }
        }
    }
    out
}

fn hugging_face_name(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".into()),
        "output_norm.weight" => return Some("model.norm.weight".into()),
        "output.weight" => return Some("lm_head.weight".into()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (part, kind) = rest.rsplit_once('.')?;
    if kind != "weight" && kind != "bias" {
        return None;
    }
    let part = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{part}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_hugging_face() {
        let cases = [
            ("token_embd.weight", "model.embed_tokens.weight"),
            (
                "blk.12.attn_q.weight",
                "model.layers.12.self_attn.q_proj.weight",
            ),
            ("blk.0.attn_v.bias", "model.layers.0.self_attn.v_proj.bias"),
            (
                "blk.3.ffn_norm.weight",
                "model.layers.3.post_attention_layernorm.weight",
            ),
        ];
        for (gguf, hugging_face) in cases {
            assert_eq!(hugging_face_name(gguf).as_deref(), Some(hugging_face));
        }
        assert_eq!(hugging_face_name("blk.x.attn_q.weight"), None);
        assert_eq!(hugging_face_name("blk.0.ffn_gate_inp.weight"), None);
    }

    #[test]
    fn interleaved_rows_become_two_halves() {
        // Two heads of four rows, two columns; row r holds (10 r, 10 r + 1).
        let data: Vec<i32> = (0..8).flat_map(|r| [10 * r, 10 * r + 1]).collect();
        let rows: Vec<i32> = separate_halves(&data, 8, 2)
            .chunks(2)
            .map(|row| row[0] / 10)
            .collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
