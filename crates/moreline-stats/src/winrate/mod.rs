//! What a judge's verdicts add up to.

mod length_control;
mod position;
mod rate;
mod verdict;

pub use length_control::{LengthControlled, SLOPE_PRECISION, length_controlled};
pub use position::{BothOrders, PositionBias, position_bias};
pub use rate::{WinRate, win_rate};
pub use verdict::Verdict;
