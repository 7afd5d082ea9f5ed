//! From a resolved experiment to a graph of stages, their keys and states.

mod change;
mod graph;
mod key;
mod label;
mod reason;
mod state;
#[cfg(test)]
mod tests;

pub use change::{Change, InputVersion, StageVersion, rows_text, show};
pub use graph::{Dependency, Graph, GraphError, StageInput};
pub use key::{KeyInput, StageKey, stage_key};
pub use label::InputLabel;
pub use reason::rerun_reason;
pub use state::{Plan, PlannedStage, StageState};
