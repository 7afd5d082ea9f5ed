//! `moreline-worker forward`: a model's numbers for given token ids, so that
//! anyone can compare them with those of another program.
//!
//! Rows go the way of everything else: as token trees (rows with a common
//! beginning share it), packed without padding, attention span by span.

mod input;

use std::path::{Path, PathBuf};

use moreline_formats::safetensors::{TensorSpec, write_lazily};
use moreline_formats::{Dtype, FormatError, HostData, HostTensor, ModelConfig};
use moreline_protocol::job::Resources;
use moreline_protocol::spec::Precision;
use tch::{Kind, Tensor, no_grad};

use crate::batch::{Group, Packed, micro};
use crate::device;
use crate::error::WorkerError;
use crate::lm_head::log_probabilities;
use crate::model::{Head, LoadedModel, stored_kind, tensor_to_host};
use crate::network;
use input::Rows;

/// What to compute, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// A Hugging Face directory or a `.gguf` file; a language model.
    pub model: PathBuf,
    /// A safetensors file with `input_ids` `[B, T]` and `lengths` `[B]`.
    pub input: PathBuf,
    /// The safetensors file to write; an existing one is replaced.
    pub output: PathBuf,
    /// Of the matrix products.
    pub precision: Precision,
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: String,
}

/// Runs the model and writes, all fp32:
/// * `logits_row{i}` `[lengths[i], V]` for each row i;
/// * `final_hidden` `[B, T, H]`: after the final norm, zero beyond the length;
/// * `next_token_logprob` `[B, T - 1]`: column t has the log-probability (nats)
///   of token t + 1 given those before it, zero where that token is beyond the
///   length.
///
/// The output appears when it is complete.
///
/// # Errors
/// Input that does not fit the model, a reward model, an unknown device,
/// unreadable or unwritable files.
pub fn forward(request: &Request) -> Result<(), WorkerError> {
    let resources = Resources::on(&request.device);
    let (device, _) = device::prepare(&resources)?;
    let config = ModelConfig::load(&request.model)?;
    if config.is_reward_model() {
        return Err(WorkerError::input(
            format!(
                "compute the logits of {}: it is a reward model",
                request.model.display()
            ),
            "name a language model; a `score` stage gives the rewards of responses",
        ));
    }
    let rows = input::read(&request.input, &config)?;
    let kind = stored_kind(request.precision);
    let model = LoadedModel::open(&request.model, Head::Language, kind, device)?;
    let hidden = hidden_rows(&model, &rows.sequences, resources.token_budget as usize);
    write(&request.output, &model, &rows, &hidden)
}

/// Each row's hidden states after the final norm, `[length, H]` in fp32.
fn hidden_rows(model: &LoadedModel, sequences: &[Vec<u32>], token_budget: usize) -> Vec<Tensor> {
    let decoder = &model.decoder;
    let sizes: Vec<usize> = sequences.iter().map(Vec::len).collect();
    let mut hidden = Vec::with_capacity(sequences.len());
    for run in micro::cut(&sizes, token_budget) {
        let group = Group::share(&sequences[run.clone()]);
        let packed = Packed::new([&group], &decoder.config, model.kind(), model.device);
        let x = network::hidden(decoder, &model.flats, &packed).to_kind(Kind::Float);
        let normed = no_grad(|| decoder.norm(&model.flats[decoder.norm_index()], &x));
        for sequence in 0..run.len() {
            let index: Vec<i64> = packed.indices(0, sequence).collect();
            let index = Tensor::from_slice(&index).to_device(model.device);
            hidden.push(normed.index_select(0, &index));
        }
    }
    hidden
}

/// Writes beside the output and renames: there is no half-written output.
fn write(
    output: &Path,
    model: &LoadedModel,
    rows: &Rows,
    hidden: &[Tensor],
) -> Result<(), WorkerError> {
    let mut beside = output.as_os_str().to_owned();
    beside.push(".partial");
    let beside = PathBuf::from(beside);
    let read = |spec: &TensorSpec| Ok::<_, FormatError>(tensor(spec, model, rows, hidden));
    let written = write_lazily(&beside, &specs(model, rows), read)
        .map_err(WorkerError::from)
        .and_then(|()| {
            std::fs::rename(&beside, output).map_err(|e| WorkerError::io("write", output, e))
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

const FINAL_HIDDEN: &str = "final_hidden";
const NEXT_TOKEN_LOGPROB: &str = "next_token_logprob";
const LOGITS_ROW: &str = "logits_row";

fn specs(model: &LoadedModel, rows: &Rows) -> Vec<TensorSpec> {
    let (count, columns) = (rows.sequences.len(), rows.columns);
    let config = &model.decoder.config;
    let spec = |name: String, shape: Vec<usize>| TensorSpec {
        name,
        dtype: Dtype::F32,
        shape,
    };
    let mut specs = vec![
        spec(
            FINAL_HIDDEN.into(),
            vec![count, columns, config.hidden_size],
        ),
        spec(NEXT_TOKEN_LOGPROB.into(), vec![count, columns - 1]),
    ];
    for (row, sequence) in rows.sequences.iter().enumerate() {
        let shape = vec![sequence.len(), config.vocab_size];
        specs.push(spec(format!("{LOGITS_ROW}{row}"), shape));
    }
    specs
}

/// One tensor of the output; only one row's logits exist at a time.
fn tensor(spec: &TensorSpec, model: &LoadedModel, rows: &Rows, hidden: &[Tensor]) -> HostTensor {
    if let Some(row) = spec.name.strip_prefix(LOGITS_ROW) {
        let row: usize = row.parse().expect("a name of ours");
        let x = hidden[row].to_kind(model.kind());
        let logits = no_grad(|| x.linear(&head(model), None::<Tensor>));
        return tensor_to_host(&logits.to_kind(Kind::Float));
    }
    let wanted = spec.shape.iter().product::<usize>() / rows.sequences.len();
    let mut data = Vec::with_capacity(wanted * rows.sequences.len());
    for (sequence, hidden) in rows.sequences.iter().zip(hidden) {
        let end = data.len() + wanted;
        if spec.name == FINAL_HIDDEN {
            data.extend(floats(hidden));
        } else if sequence.len() > 1 {
            data.extend(floats(&next_token_logprobs(model, sequence, hidden)));
        }
        data.resize(end, 0.0);
    }
    HostTensor {
        shape: spec.shape.clone(),
        data: HostData::F32(data),
    }
}

fn head(model: &LoadedModel) -> Tensor {
    let decoder = &model.decoder;
    decoder.head_matrix(&model.flats[decoder.head_index()])
}

/// Log-probabilities `[length - 1]` of all tokens of a row but its first.
fn next_token_logprobs(model: &LoadedModel, sequence: &[u32], hidden_th: &Tensor) -> Tensor {
    let labels: Vec<i64> = sequence[1..].iter().map(|&id| i64::from(id)).collect();
    let x = hidden_th.narrow(0, 0, labels.len() as i64);
    log_probabilities(
        &x.to_kind(model.kind()),
        &head(model),
        &Tensor::from_slice(&labels).to_device(model.device),
    )
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor_to_host(tensor).data.into_f32()
}
