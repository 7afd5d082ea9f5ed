//! Trained models as Hugging Face directories.

use std::path::Path;

use moreline_formats::Dtype;
use moreline_formats::safetensors::{TensorSpec, write_model};
use moreline_protocol::spec::{Pooling, Precision};
use moreline_text::Tokenizer;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::layout::Part;
use super::load::{stored_kind, tensor_to_host};
use super::{Decoder, Head};
use crate::error::WorkerError;
use crate::text::RewardText;

/// What the exported configuration says about the head.
#[derive(Debug, Clone, Copy)]
pub enum ExportHead<'a> {
    /// A language model.
    Language,
    /// A reward model and how its texts are made and read.
    Reward(&'a RewardText),
}

impl ExportHead<'_> {
    fn is_language(self) -> bool {
        matches!(self, Self::Language)
    }
}

/// Writes a model's files.
#[derive(Debug)]
pub struct Exporter<'a> {
    /// The topology.
    pub decoder: &'a Decoder,
    /// Its tokenizer, written beside the weights.
    pub tokenizer: &'a Tokenizer,
    /// bf16 or fp32; a reward head is fp32 in either case.
    pub precision: Precision,
    /// Largest weight file, in bytes; more tensors go into further files with an
    /// index.
    pub max_shard_bytes: u64,
}

impl Exporter<'_> {
    /// Writes `config.json`, the weights and the tokenizer's files into `dir`,
    /// which must exist and be empty. `flats` are one per segment, of any dtype.
    ///
    /// # Errors
    /// The system's.
    pub fn write(
        &self,
        dir: &Path,
        flats: &[Tensor],
        head: ExportHead<'_>,
    ) -> Result<(), WorkerError> {
        let placed = self.placed_parts();
        let specs: Vec<TensorSpec> = placed.iter().map(|p| self.spec(p)).collect();
        write_model(dir, &specs, self.max_shard_bytes, |spec| {
            let part = placed
                .iter()
                .find(|p| p.part.name == spec.name)
                .expect("a part of ours");
            let kind = if spec.dtype == Dtype::F32 {
                Kind::Float
            } else {
                Kind::BFloat16
            };
            let slice = flats[part.segment].narrow(0, part.offset, part.part.numel());
            let shaped = slice.to_kind(kind).view(part.part.shape.as_slice());
            Ok::<_, WorkerError>(tensor_to_host(&shaped))
        })?;
        self.tokenizer.save(dir)?;
        if head.is_language() {
            self.write_generation_config(dir)?;
        }
        // Last, so that it wins over a copied one.
        let config = Value::Object(self.config(head));
        let text = serde_json::to_string_pretty(&config).expect("JSON of strings and numbers");
        let path = dir.join("config.json");
        std::fs::write(&path, text).map_err(|e| WorkerError::io("write", &path, e))
    }

    /// `generation_config.json`, unless the source brought one.
    fn write_generation_config(&self, dir: &Path) -> Result<(), WorkerError> {
        let path = dir.join("generation_config.json");
        if path.exists() {
            return Ok(());
        }
        let config = self.decoder.config.to_hf_json();
        let keys = ["bos_token_id", "eos_token_id", "pad_token_id"];
        let known = keys.iter().filter_map(|&key| {
            let value = config.get(key).filter(|value| !value.is_null())?;
            Some((key.to_owned(), value.clone()))
        });
        let known = Value::Object(known.collect());
        let text = serde_json::to_string_pretty(&known).expect("JSON of numbers");
        std::fs::write(&path, text).map_err(|e| WorkerError::io("write", &path, e))
    }

    /// The dtype of the weights, but for a reward head.
    pub fn kind(&self) -> Kind {
        stored_kind(self.precision)
    }

    fn placed_parts(&self) -> Vec<PlacedPart<'_>> {
        let segments = self.decoder.segments.iter().enumerate();
        segments
            .flat_map(|(segment, s)| {
                s.parts().map(move |(offset, part)| PlacedPart {
                    segment,
                    offset,
                    part,
                })
            })
            .collect()
    }

    fn spec(&self, placed: &PlacedPart<'_>) -> TensorSpec {
        let reward_head =
            self.decoder.head == Head::Reward && placed.segment > self.decoder.norm_index();
        let fp32 = reward_head || self.precision == Precision::Fp32;
        TensorSpec {
            name: placed.part.name.clone(),
            dtype: if fp32 { Dtype::F32 } else { Dtype::Bf16 },
            shape: placed.part.shape.iter().map(|&n| n as usize).collect(),
        }
    }

    fn config(&self, head: ExportHead<'_>) -> Map<String, Value> {
        let dtype = match self.precision {
            Precision::Bf16 => "bfloat16",
            Precision::Fp32 => "float32",
        };
        let mut config = match head {
            ExportHead::Language => self.decoder.config.to_hf_json(),
            ExportHead::Reward(text) => {
                let extra = json!({
                    "moreline": text,
                    "pad_token_id": self.reward_pad(text.pooling),
                });
                let Value::Object(extra) = extra else {
                    unreachable!("an object")
                };
                self.decoder.config.to_hf_classifier_json(extra)
            }
        };
        config.insert("dtype".into(), dtype.into());
        config.insert("torch_dtype".into(), dtype.into());
        config
    }

    /// transformers reads the rightmost token that is not padding. With EOS as
    /// padding that is the token before EOS; to read EOS itself, padding must
    /// be another id, or none. Mean and max pooling cannot be expressed there.
    fn reward_pad(&self, pooling: Pooling) -> Option<u32> {
        let eos = self.tokenizer.eos();
        match pooling {
            Pooling::Last => eos,
            _ => self.decoder.config.pad_id.filter(|&pad| Some(pad) != eos),
        }
    }
}

struct PlacedPart<'a> {
    segment: usize,
    offset: i64,
    part: &'a Part,
}
