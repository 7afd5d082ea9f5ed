//! The worker of moreline: everything that touches tensors.
//!
//! `moreline-worker run --job job.json` runs one stage and speaks JSON lines.
//! The program never decides what to run: the engine does.
//!
//! * [`model`]: topologies as lists of segments, loading and exporting weights.
//! * [`text`], [`labels`]: rows to token sequences.
//! * [`batch`]: token trees, packed without padding.
//! * [`loss`], [`objective`], [`head`], [`lm_head`]: closed forms.
//! * [`train`], [`generate`], [`score`], [`evaluate`]: the loops.
//! * [`forward`]: a model's numbers for given token ids.
//! * [`stage`]: one job from its file to its events.

pub mod batch;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod forward;
pub mod generate;
pub mod head;
pub mod labels;
pub mod lm_head;
pub mod loss;
pub mod model;
pub mod network;
pub mod objective;
pub mod parallel;
pub mod score;
pub mod stage;
pub mod text;
pub mod train;
