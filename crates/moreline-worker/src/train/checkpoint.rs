//! Checkpoints: a killed training goes on as if nothing had happened.
//!
//! `partial/checkpoint/` holds the weights and moments as safetensors and the
//! rest as JSON. A new one is written beside the old one and renamed over it.
//! The data order and every random number follow from the seed and the step.

use std::path::{Path, PathBuf};

use moreline_formats::safetensors::write_file;
use moreline_formats::{HostTensor, WeightStore};
use moreline_protocol::rows::HistoryRow;
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use super::optimiser::Optimiser;
use super::weights::TrainWeights;
use crate::error::WorkerError;
use crate::model::{host_to_tensor, tensor_to_host};

const TENSORS: &str = "tensors.safetensors";
const STATE: &str = "state.json";

/// Everything but the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps done.
    pub step: u64,
    /// Steps that changed the weights.
    pub taken: u64,
    /// Steps skipped since the last good one.
    pub bad: u32,
    /// Steps skipped in all.
    pub skipped: u64,
    /// Tokens computed so far.
    pub tokens: u64,
    /// MORE's running head gradients.
    pub momentum: Vec<Vec<f64>>,
    /// The history so far.
    pub history: Vec<HistoryRow>,
}

/// Writes a checkpoint.
///
/// # Errors
/// The system's.
pub(super) fn save(
    partial: &Path,
    weights: &TrainWeights,
    state: &State,
) -> Result<(), WorkerError> {
    let fresh = partial.join("checkpoint.new");
    let _ = std::fs::remove_dir_all(&fresh);
    std::fs::create_dir_all(&fresh).map_err(|e| WorkerError::io("create", &fresh, e))?;
    let mut tensors: Vec<(String, HostTensor)> = Vec::new();
    for (i, moments) in weights.moments.iter().enumerate() {
        if let Some((first, second)) = moments {
            for (name, tensor) in [
                ("weights", &weights.master[i]),
                ("first", first),
                ("second", second),
            ] {
                tensors.push((format!("{name}.{i}"), tensor_to_host(tensor)));
            }
        }
    }
    write_file(&fresh.join(TENSORS), &tensors)?;
    let path = fresh.join(STATE);
    let text = serde_json::to_vec(state).map_err(|e| WorkerError::io("write", &path, e.into()))?;
    std::fs::write(&path, text).map_err(|e| WorkerError::io("write", &path, e))?;
    for file in [TENSORS, STATE] {
        let path = fresh.join(file);
        let synced = std::fs::File::open(&path).and_then(|f| f.sync_all());
        synced.map_err(|e| WorkerError::io("sync", &path, e))?;
    }
    replace(partial, &fresh)
}

/// Renames the new checkpoint into place; the old one is out of the way first,
/// and [`load`] knows both places.
fn replace(partial: &Path, fresh: &Path) -> Result<(), WorkerError> {
    let current = partial.join("checkpoint");
    let old = partial.join("checkpoint.old");
    let _ = std::fs::remove_dir_all(&old);
    if current.exists() {
        std::fs::rename(&current, &old).map_err(|e| WorkerError::io("rename", &current, e))?;
    }
    std::fs::rename(fresh, &current).map_err(|e| WorkerError::io("rename", fresh, e))?;
    let _ = std::fs::remove_dir_all(&old);
    Ok(())
}

/// Restores the newest whole checkpoint, if there is one.
///
/// # Errors
/// A checkpoint that cannot be read back.
pub(super) fn load(
    partial: &Path,
    weights: &mut TrainWeights,
    optimiser: &mut Optimiser,
) -> Result<Option<State>, WorkerError> {
    let places = ["checkpoint", "checkpoint.old"].map(|name| partial.join(name));
    let Some(place) = places.into_iter().find(|p| p.join(STATE).exists()) else {
        return Ok(None);
    };
    let state = read_state(&place.join(STATE))?;
    let store = WeightStore::open(&place.join(TENSORS))?;
    for i in 0..weights.master.len() {
        let Some((first, second)) = &mut weights.moments[i] else {
            continue;
        };
        let targets = [
            ("weights", &mut weights.master[i]),
            ("first", first),
            ("second", second),
        ];
        for (name, target) in targets {
            let shape: Vec<usize> = target.size().iter().map(|&n| n as usize).collect();
            let host = store.read_shaped(&format!("{name}.{i}"), &shape)?;
            let tensor: Tensor = host_to_tensor(host);
            no_grad(|| target.copy_(&tensor));
        }
    }
    weights.refresh();
    optimiser.taken = state.taken;
    optimiser.bad = state.bad;
    optimiser.skipped = state.skipped;
    Ok(Some(state))
}

fn read_state(path: &PathBuf) -> Result<State, WorkerError> {
    let text = std::fs::read(path).map_err(|e| WorkerError::io("read", path, e))?;
    serde_json::from_slice(&text).map_err(|e| {
        WorkerError::input(
            format!("read the checkpoint {}: {e}", path.display()),
            "remove that folder; the stage starts over",
        )
    })
}
