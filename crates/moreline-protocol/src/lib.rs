//! What the engine and its workers say to each other, as plain serde types.
//!
//! * [`spec`]: what a stage of each kind takes, as written in an experiment file.
//! * [`artifact`]: what flows between stages, and which roles take and give what.
//! * [`job`]: the file the engine hands to a worker.
//! * [`event`]: the JSON lines a worker answers with.
//! * [`rows`]: the JSON Lines records inside the artifacts.
//!
//! Nothing here reads files, touches tensors or knows of the command line.

pub mod artifact;
pub mod event;
pub mod job;
pub mod rows;
pub mod spec;

/// Version of the job and event format; a worker refuses any other.
pub const PROTOCOL_VERSION: u32 = 1;
