//! Training: reward models and supervised fine-tuning on one core.

pub mod order;
pub mod schedule;
pub mod step;
pub mod tape;
pub mod trained;
pub mod weighting;
pub mod weights;

mod checkpoint;
mod history;
mod lm;
pub mod optimiser;
mod peft;
mod reward;
mod reward_rows;
mod session;
mod sft;

pub use reward::train_reward;
pub(crate) use reward_rows::FED_ROWS;
pub use sft::sft;
