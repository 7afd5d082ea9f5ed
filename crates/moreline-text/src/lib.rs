//! moreline-text
