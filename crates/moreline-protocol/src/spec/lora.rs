//! Low-rank adapters of a training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Low-rank adaptation (arXiv 2106.09685): each chosen matrix W becomes
/// W + alpha / rank B A, and only A and B are trained (and the reward head).
/// There is no dropout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Rows of A and columns of B.
    #[schemars(range(min = 1))]
    pub rank: u32,
    /// The update is scaled by alpha / rank.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub alpha: f64,
    /// The adapted matrices of a block; every one if absent. GPT-NeoX has `qkv`,
    /// `o`, `up` and `down`, the LLaMA family all but `qkv`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub targets: Option<Vec<LoraTarget>>,
    /// Also write the adapter by itself, as a PEFT folder `adapter`. The model
    /// is written with the adapter merged in any case.
    #[serde(default)]
    pub save_adapter: bool,
}

/// A matrix of a block.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum LoraTarget {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Queries, keys and values in one matrix (GPT-NeoX).
    Qkv,
    /// The attention's output.
    O,
    /// The gate of the MLP.
    Gate,
    /// The MLP's first matrix.
    Up,
    /// The MLP's last matrix.
    Down,
}

impl LoraTarget {
    /// The matrices of a block, their names in experiment files, and the modules
    /// that hold them in Hugging Face's models: of the LLaMA family, or of
    /// GPT-NeoX.
    pub fn known(llama_family: bool) -> &'static [(Self, &'static str, &'static str)] {
        if llama_family {
            &[
                (Self::Q, "q", "self_attn.q_proj"),
                (Self::K, "k", "self_attn.k_proj"),
                (Self::V, "v", "self_attn.v_proj"),
                (Self::O, "o", "self_attn.o_proj"),
                (Self::Gate, "gate", "mlp.gate_proj"),
                (Self::Up, "up", "mlp.up_proj"),
                (Self::Down, "down", "mlp.down_proj"),
            ]
        } else {
            &[
                (Self::Qkv, "qkv", "attention.query_key_value"),
                (Self::O, "o", "attention.dense"),
                (Self::Up, "up", "mlp.dense_h_to_4h"),
                (Self::Down, "down", "mlp.dense_4h_to_h"),
            ]
        }
    }
}

impl Lora {
    /// The modules of the targets, in the order of the block's matrices.
    ///
    /// # Errors
    /// A target that such a model does not have: its name, and those it has.
    pub fn modules(&self, llama_family: bool) -> Result<Vec<&'static str>, (String, String)> {
        let known = LoraTarget::known(llama_family);
        let targets = self.targets.as_deref().unwrap_or_default();
        for target in targets {
            if known.iter().all(|(known, ..)| known != target) {
                let names: Vec<String> = known.iter().map(|(_, n, _)| format!("`{n}`")).collect();
                let name = format!("{target:?}").to_lowercase();
                return Err((name, names.join(", ")));
            }
        }
        let wanted = |target: &LoraTarget| targets.is_empty() || targets.contains(target);
        let modules = known.iter().filter(|(target, ..)| wanted(target));
        Ok(modules.map(|(_, _, module)| *module).collect())
    }
}
