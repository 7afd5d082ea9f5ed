//! Statistics of an experiment: pure functions over `f64`, no tensors and no input or output.
//!
//! - [`calibration`]: reliability bins, ECE, ACE and MCE, Brier score, NLL, temperature scaling;
//! - [`bootstrap`], [`interval`], [`mcnemar`]: what a figure is worth, and paired comparisons;
//! - [`pairwise`], [`agreement`], [`ensemble`]: decided pairs of responses, Cohen's kappa,
//!   rewards of several models made one;
//! - [`describe`], [`correlation`]: means, quantiles, histograms, Pearson and Spearman;
//! - [`winrate`]: verdicts of a judge, length control and position bias.
//!
//! Whatever is undefined (no data, a NaN, a constant in a correlation) is an [`Error`],
//! never a number that could be mistaken for a result.

pub mod agreement;
pub mod bootstrap;
pub mod calibration;
pub mod correlation;
pub mod describe;
pub mod ensemble;
mod error;
pub mod interval;
pub mod logistic;
pub mod mcnemar;
mod normal;
pub mod pairwise;
pub mod winrate;

pub use bootstrap::Bootstrap;
pub use error::{Error, Result};
pub use interval::Interval;
