//! Checkpoints: a killed training goes on as if nothing had happened.
//!
//! `partial/checkpoints/step-N/` holds the weights and moments as safetensors
//! and the rest as JSON. The data order and every random number follow from the
//! seed and the step. `partial/best/step-N/` holds the weights of the best
//! evaluation, if they are to be given in the end; it stays as long as a
//! checkpoint refers to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use moreline_formats::safetensors::{TensorSpec, write_model};
use moreline_formats::{Dtype, FormatError, WeightStore};
use moreline_protocol::rows::HistoryRow;
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use super::sealed;
use super::settings::Keeping;
use super::watch::Watch;
use super::weighting::Memory;
use super::weights::TrainWeights;
use crate::error::WorkerError;
use crate::model::{host_to_tensor, tensor_to_host};

const TENSORS: &str = "model.safetensors";
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
    /// What the tasks' weights depend on besides the batch.
    #[serde(flatten)]
    pub memory: Memory,
    /// What evaluations found so far.
    pub watch: Watch,
    /// Step whose weights are kept as the best, if they are kept.
    pub best: Option<u64>,
    /// The history so far.
    pub history: Vec<HistoryRow>,
}

/// The checkpoints of one training.
pub(super) struct Checkpoints {
    partial: PathBuf,
    keeping: Keeping,
    written: Instant,
}

impl Checkpoints {
    /// Those in a stage's partial folder.
    pub(super) fn new(partial: &Path, keeping: Keeping) -> Self {
        Self {
            partial: partial.to_owned(),
            keeping,
            written: Instant::now(),
        }
    }

    /// Whether one is to be written after this many steps.
    pub(super) fn due(&self, steps: u64) -> bool {
        let old = |minutes: f64| self.written.elapsed().as_secs_f64() >= minutes * 60.0;
        steps.is_multiple_of(self.keeping.every.max(1)) || self.keeping.minutes.is_some_and(old)
    }

    fn folder(&self, of: &str) -> PathBuf {
        self.partial.join(of)
    }

    fn place(&self, of: &str, step: u64) -> PathBuf {
        self.folder(of).join(format!("step-{step}"))
    }

    /// Writes one, then removes those that are no longer needed.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn save(
        &mut self,
        weights: &TrainWeights,
        state: &State,
    ) -> Result<(), WorkerError> {
        sealed::write(&self.place("checkpoints", state.step), |dir| {
            write_tensors(dir, weights, &["weights", "first", "second"])?;
            let path = dir.join(STATE);
            let text = serde_json::to_vec(state);
            let text = text.map_err(|e| WorkerError::io("write", &path, e.into()))?;
            fs::write(&path, text).map_err(|e| WorkerError::io("write", &path, e))
        })?;
        self.written = Instant::now();
        self.prune();
        Ok(())
    }

    /// Writes the weights of the best evaluation.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn save_best(&self, weights: &TrainWeights, step: u64) -> Result<(), WorkerError> {
        let place = self.place("best", step);
        sealed::write(&place, |dir| write_tensors(dir, weights, &["weights"]))
    }

    /// Restores the weights of the best evaluation.
    ///
    /// # Errors
    /// A file that is gone or damaged.
    pub(super) fn load_best(
        &self,
        weights: &mut TrainWeights,
        step: u64,
    ) -> Result<(), WorkerError> {
        let place = self.place("best", step);
        let read = |reason: String| {
            let message = format!(
                "read the best weights, those after step {step}, from {}: {reason}",
                place.display()
            );
            WorkerError::input(message, "remove that folder; the stage starts over")
        };
        sealed::check(&place).map_err(read)?;
        read_tensors(&place, weights, &["weights"])?;
        weights.refresh();
        Ok(())
    }

    /// Restores the newest checkpoint that is whole; those that are not are
    /// removed and told to `tell`.
    ///
    /// # Errors
    /// A damaged one that cannot be removed; a whole one that cannot be taken
    /// over, which may have changed some of the weights by then.
    pub(super) fn load(
        &self,
        weights: &mut TrainWeights,
        tell: &dyn Fn(String),
    ) -> Result<Option<State>, WorkerError> {
        let mut steps = self.steps("checkpoints");
        steps.sort_unstable();
        while let Some(step) = steps.pop() {
            let place = self.place("checkpoints", step);
            match self.check(&place) {
                Ok(state) => {
                    let names = ["weights", "first", "second"];
                    read_tensors(&place, weights, &names)?;
                    weights.restored();
                    return Ok(Some(state));
                }
                Err(reason) => {
                    tell(format!(
                        "the checkpoint after step {step} is left out: {reason}"
                    ));
                    fs::remove_dir_all(&place).map_err(|e| WorkerError::io("remove", &place, e))?;
                }
            }
        }
        Ok(None)
    }

    /// The state of a checkpoint whose every byte is there, else what is wrong.
    fn check(&self, place: &Path) -> Result<State, String> {
        sealed::check(place)?;
        let state = read_state(place)?;
        if let Some(best) = state.best {
            let damaged = |reason| format!("the best weights, those after step {best}: {reason}");
            sealed::check(&self.place("best", best)).map_err(damaged)?;
        }
        Ok(state)
    }

    /// The steps in a folder.
    fn steps(&self, of: &str) -> Vec<u64> {
        let entries = fs::read_dir(self.folder(of)).into_iter().flatten();
        let step = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("step-")?.parse().ok()
        };
        entries.flatten().filter_map(step).collect()
    }

    /// Removes all but the newest checkpoints, and the best weights that none
    /// of them refers to. What cannot be removed stays.
    fn prune(&self) {
        let mut steps = self.steps("checkpoints");
        steps.sort_unstable_by(|a, b| b.cmp(a));
        let kept = steps.len().min(self.keeping.count.max(1) as usize);
        let (kept, old) = steps.split_at(kept);
        for step in old {
            let _ = fs::remove_dir_all(self.place("checkpoints", *step));
        }
        let state = |step: &u64| read_state(&self.place("checkpoints", *step)).ok();
        let needed: Vec<u64> = kept.iter().filter_map(|s| state(s)?.best).collect();
        for step in self.steps("best") {
            if !needed.contains(&step) {
                let _ = fs::remove_dir_all(self.place("best", step));
            }
        }
    }
}

fn read_state(place: &Path) -> Result<State, String> {
    let text = fs::read(place.join(STATE)).map_err(|e| format!("{STATE} cannot be read: {e}"))?;
    serde_json::from_slice(&text).map_err(|e| format!("{STATE}: {e}"))
}

/// The trained tensors of these kinds, each under `KIND.SLOT`.
fn tensors<'a>(weights: &'a TrainWeights, kinds: &[&str]) -> Vec<(String, &'a Tensor)> {
    let mut found = Vec::new();
    for (i, moments) in weights.moments.iter().enumerate() {
        let Some((first, second)) = moments else {
            continue;
        };
        for &kind in kinds {
            let tensor = match kind {
                "first" => first,
                "second" => second,
                _ => &weights.master[i],
            };
            found.push((format!("{kind}.{i}"), tensor));
        }
    }
    found
}

/// Writes one tensor after the other: at most one is in memory twice.
fn write_tensors(dir: &Path, weights: &TrainWeights, kinds: &[&str]) -> Result<(), WorkerError> {
    let tensors = tensors(weights, kinds);
    let spec = |(name, tensor): &(String, &Tensor)| TensorSpec {
        name: name.clone(),
        dtype: Dtype::F32,
        shape: shape(tensor),
    };
    let specs: Vec<TensorSpec> = tensors.iter().map(spec).collect();
    write_model(dir, &specs, u64::MAX, |spec| {
        let mut named = tensors.iter();
        let (_, tensor) = named
            .find(|(name, _)| *name == spec.name)
            .expect("a tensor of ours");
        Ok::<_, FormatError>(tensor_to_host(tensor))
    })?;
    Ok(())
}

fn read_tensors(dir: &Path, weights: &mut TrainWeights, kinds: &[&str]) -> Result<(), WorkerError> {
    let store = WeightStore::open(&dir.join(TENSORS))?;
    for (name, tensor) in tensors(weights, kinds) {
        let host = store.read_shaped(&name, &shape(tensor))?;
        // Shares the storage: what it stands for changes.
        let mut target = tensor.shallow_clone();
        no_grad(|| target.copy_(&host_to_tensor(host)));
    }
    Ok(())
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().iter().map(|&n| n as usize).collect()
}
