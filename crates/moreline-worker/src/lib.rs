//! moreline-worker
