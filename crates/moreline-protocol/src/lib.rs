//! moreline-protocol
