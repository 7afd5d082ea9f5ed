//! The name under which an input appears in a stage's result.

/// Name of an input inside a stage's result: metrics and records of several
/// sets are told apart by it. A name that reaches the result is keyed, so that
/// no result ever carries a name from another experiment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputLabel {
    /// A name of the experiment file that the result contains.
    Named(String),
    /// A fixed name that says what the input is; renaming its stage changes
    /// nothing.
    Fixed(String),
}

impl InputLabel {
    /// The name to give to the worker.
    pub fn name(&self) -> &str {
        match self {
            Self::Named(name) | Self::Fixed(name) => name,
        }
    }

    /// What enters the key: nothing for a fixed name.
    pub fn keyed(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Fixed(_) => "",
        }
    }
}
