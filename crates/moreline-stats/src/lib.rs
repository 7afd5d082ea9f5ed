//! moreline-stats
