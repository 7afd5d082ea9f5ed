//! moreline-formats
