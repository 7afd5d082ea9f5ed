//! Random token trees, packed in random order under random budgets, equal the
//! same sequences computed one at a time: outputs and every gradient.

mod forest;
mod language;
mod prefill;
mod reference;
mod reward;
mod scoring;

/// Largest error relative to the largest entry of what is compared.
const TOLERANCE: f64 = 1e-5;
