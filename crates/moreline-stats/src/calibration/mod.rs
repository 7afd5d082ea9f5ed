//! Whether probabilities mean what they say.
//!
//! Two views of a binary prediction are in use. The *class* view, of the published
//! functions, compares P(positive) with how often the label is positive. The *confidence*
//! view, usual for reward models (where the probability is that of the preferred response,
//! so that every label would be 1), compares `max(p, 1 - p)` with how often `p > 1/2` is
//! right; see [`Confidence`]. Both are binned alike.

mod bins;
mod confidence;
mod cross_fit;
mod measures;
mod scores;
mod temperature;

pub use bins::{Binning, ReliabilityBin, edges, reliability};
pub use confidence::Confidence;
pub use cross_fit::{Change, CrossFit, HeldOut, cross_fit_temperature, halves};
pub use measures::{Calibration, calibration};
pub use scores::{brier, margin_nll, nll};
pub use temperature::{TemperatureFit, fit_temperature};
