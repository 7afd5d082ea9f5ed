//! From a TOML file to a resolved [`Experiment`].
//!
//! Text becomes a spanned document (`parse`, `files` for `extends`), `--set`
//! is laid over it (`overrides`), stages are multiplied by the matrix
//! (`matrix`, `interpolate`), each table is checked against the JSON schema of
//! its type (`check`, `kinds`), and names are resolved (`references`). Every
//! step adds to one list of problems; they are reported together.

mod axes;
mod axis;
mod check;
mod error;
mod experiment;
mod files;
mod format;
mod hub;
mod interpolate;
mod kinds;
mod load;
mod matrix;
mod names;
mod node;
mod overrides;
mod parse;
mod place;
mod references;
mod resolve;
mod reward_rules;
mod rows;
mod rules;
mod schema;
mod site;
mod site_rules;
mod smoke;
mod source;
mod steps;
mod suggest;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, ConfigErrors};
pub use experiment::{Experiment, HubFile, ModelDecl, ModelSource, Referent, RowsDecl, StageDecl};
pub use format::format;
pub(crate) use hub::parse_file as hub_file;
pub use load::{LoadOptions, Loaded, load, load_site, read, read_site};
pub use matrix::name_in_cell;
pub use place::Place;
pub use schema::{schema, site_schema};
pub use site::{CacheLayer, Endpoint, LayerMode, LayerPlace, Limits, Site};
pub use suggest::closest;
