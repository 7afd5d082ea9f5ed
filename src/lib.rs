//! moreline
