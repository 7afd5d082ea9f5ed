//! Training: reward models and supervised fine-tuning on one core.

pub mod order;
pub mod schedule;
pub mod step;
pub mod tape;
pub mod trained;
pub mod weighting;
pub mod weights;

mod checkpoint;
mod held_out;
mod history;
mod lm;
pub mod optimiser;
mod peft;
mod rates;
mod reward;
mod reward_rows;
mod sampling;
mod saved;
mod sealed;
mod session;
mod settings;
mod sft;
mod watch;

pub use reward::train_reward;
pub(crate) use reward_rows::FED_ROWS;
pub use sft::sft;
