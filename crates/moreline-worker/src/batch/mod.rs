//! From token sequences to packed batches in which nothing is computed twice.
//!
//! * [`group`]: sequences that share a prefix become a tree of spans.
//! * [`packed`]: the spans of several groups side by side, no padding.
//! * [`attention`]: which spans attend to which, in batches of similar shape.
//! * [`micro`]: global batches cut into micro-batches by a token budget.

pub mod attention;
pub mod group;
pub mod micro;
pub mod packed;

pub use attention::AttentionPlan;
pub use group::Group;
pub use packed::Packed;
