//! Adapters as PEFT folders: what `PeftModel.from_pretrained(base, folder)` of
//! Hugging Face's peft loads onto the base model.

use std::path::Path;

use moreline_formats::HostTensor;
use moreline_formats::safetensors::write_file;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::weights::TrainWeights;
use crate::error::WorkerError;
use crate::model::adapter::Adapters;
use crate::model::{Decoder, Head, tensor_to_host};

/// Writes `adapter_config.json` and `adapter_model.safetensors` into the new
/// folder `dir`, the matrices in the dtype `kind`, a reward head in fp32.
///
/// # Errors
/// The system's.
pub(super) fn write(
    dir: &Path,
    decoder: &Decoder,
    weights: &TrainWeights,
    kind: Kind,
) -> Result<(), WorkerError> {
    let Some((adapters, flats)) = weights.adapters() else {
        return Ok(());
    };
    std::fs::create_dir_all(dir).map_err(|e| WorkerError::io("create", dir, e))?;
    let mut tensors: Vec<(String, HostTensor)> = Vec::new();
    for (block, flat) in adapters.blocks.iter().zip(flats) {
        for (offset, part) in block.segment.parts() {
            let tensor = flat.narrow(0, offset, part.numel()).to_kind(kind);
            let tensor = tensor.view(part.shape.as_slice());
            tensors.push((part.name.clone(), tensor_to_host(&tensor)));
        }
    }
    if decoder.head == Head::Reward {
        let score: Tensor = weights.master[decoder.head_index()].view([1, -1]);
        let name = "base_model.model.score.weight".to_owned();
        tensors.push((name, tensor_to_host(&score)));
    }
    write_file(&dir.join("adapter_model.safetensors"), &tensors)?;
    let path = dir.join("adapter_config.json");
    let text = serde_json::to_string_pretty(&config(decoder, adapters)).expect("plain JSON");
    std::fs::write(&path, text).map_err(|e| WorkerError::io("write", &path, e))
}

/// The base model is the caller's to name: its path is no part of the result.
fn config(decoder: &Decoder, adapters: &Adapters) -> Value {
    let reward = decoder.head == Head::Reward;
    let layers = decoder.config.layers;
    let transformed = (adapters.first > 0).then(|| (adapters.first..layers).collect::<Vec<_>>());
    json!({
        "peft_type": "LORA",
        "task_type": if reward { "SEQ_CLS" } else { "CAUSAL_LM" },
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": adapters.rank,
        "lora_alpha": adapters.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "target_modules": adapters.modules(),
        "modules_to_save": reward.then_some(["score"]),
        "layers_to_transform": transformed,
        "layers_pattern": transformed.as_ref().map(|_| "layers"),
    })
}
