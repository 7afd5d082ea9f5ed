//! Defaults of settings that are not their type's own.

use super::training::Normalize;

pub(super) fn alpha() -> f64 {
    0.99
}
pub(super) fn l2() -> Normalize {
    Normalize::L2
}
pub(super) fn one() -> u32 {
    1
}
pub(super) fn max_length() -> u32 {
    512
}
pub(super) fn one_epoch() -> f64 {
    1.0
}
pub(super) fn batch() -> u32 {
    16
}
pub(super) fn lr() -> f64 {
    1e-5
}
pub(super) fn warmup() -> f64 {
    0.05
}
pub(super) fn decay_ratio() -> f64 {
    0.1
}
pub(super) fn yes() -> bool {
    true
}
pub(super) fn max_shard_mb() -> u32 {
    5000
}
pub(super) fn betas() -> [f64; 2] {
    [0.9, 0.999]
}
pub(super) fn eps() -> f64 {
    1e-8
}
pub(super) fn clip() -> f64 {
    1.0
}
pub(super) fn checkpoint_every() -> u64 {
    50
}
pub(super) fn checkpoint_keep() -> u32 {
    2
}
pub(super) fn dwa_window() -> u32 {
    10
}
pub(super) fn is_dwa_window(window: &u32) -> bool {
    *window == dwa_window()
}
/// The paper's.
pub(super) fn dwa_temperature() -> f64 {
    2.0
}
pub(super) fn is_dwa_temperature(temperature: &f64) -> bool {
    *temperature == dwa_temperature()
}
/// Settings left at what they were before they existed stay out of keys.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
