//! From a TOML file to a resolved [`Experiment`].

mod experiment;
mod site;

pub use experiment::{Experiment, ModelDecl, ModelSource, Referent, RowsDecl, StageDecl};
pub use site::{Endpoint, Site};
