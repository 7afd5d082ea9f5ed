//! The content-addressed store: objects, action records, locks.

mod record;

pub use record::{
    ActionRecord, GitState, ObjectForm, Provenance, RECORD_FORMAT, RecordedInput, RecordedOutput,
};
