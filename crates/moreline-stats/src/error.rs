//! Why a statistic could not be computed.

use std::fmt;

/// The result of a statistic.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a statistic is undefined; each message completes "failed to ...".
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// Fewer values than the statistic needs.
    TooFew {
        /// What was counted.
        what: &'static str,
        /// The least number that would do.
        needed: usize,
        /// The number given.
        got: usize,
    },
    /// A NaN or an infinity.
    NotFinite {
        /// What the value is.
        what: &'static str,
        /// Position of the first such value.
        index: usize,
    },
    /// A value outside its range.
    OutOfRange {
        /// What the value is.
        what: &'static str,
        /// Position of the first such value.
        index: usize,
        /// The value.
        value: f64,
        /// The range it belongs to.
        range: &'static str,
    },
    /// Two sequences that should be parallel differ in length.
    LengthMismatch {
        /// The first sequence and its length.
        left: (&'static str, usize),
        /// The second sequence and its length.
        right: (&'static str, usize),
    },
    /// The data do not determine the figure.
    Undetermined {
        /// The figure.
        what: &'static str,
        /// Why it is not determined.
        reason: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { what, needed, got } => {
                write!(
                    f,
                    "failed to summarise {what}: {got} given, at least {needed} needed"
                )
            }
            Self::NotFinite { what, index } => {
                write!(
                    f,
                    "failed to summarise {what}: value {index} (from 0) is not a finite number"
                )
            }
            Self::OutOfRange {
                what,
                index,
                value,
                range,
            } => {
                write!(
                    f,
                    "failed to summarise {what}: value {index} (from 0) is {value}, outside {range}"
                )
            }
            Self::LengthMismatch { left, right } => write!(
                f,
                "failed to compare {} with {}: {} values against {}",
                left.0, right.0, left.1, right.1
            ),
            Self::Undetermined { what, reason } => {
                write!(f, "failed to determine {what}: {reason}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Checks that there are at least `needed` values, all finite.
pub(crate) fn check_finite(what: &'static str, values: &[f64], needed: usize) -> Result<()> {
    check_count(what, values.len(), needed)?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NotFinite { what, index }),
        None => Ok(()),
    }
}

/// Checks that there are at least `needed` of something.
pub(crate) fn check_count(what: &'static str, got: usize, needed: usize) -> Result<()> {
    if got < needed {
        return Err(Error::TooFew { what, needed, got });
    }
    Ok(())
}

/// Checks that the values lie in [0, 1] and that there is at least one.
pub(crate) fn check_unit(what: &'static str, values: &[f64]) -> Result<()> {
    check_finite(what, values, 1)?;
    match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
        Some(index) => Err(Error::OutOfRange {
            what,
            index,
            value: values[index],
            range: "[0, 1]",
        }),
        None => Ok(()),
    }
}

/// Checks that two sequences are parallel.
pub(crate) fn check_parallel(
    left: (&'static str, usize),
    right: (&'static str, usize),
) -> Result<()> {
    if left.1 != right.1 {
        return Err(Error::LengthMismatch { left, right });
    }
    Ok(())
}

/// Checks that a level of confidence is in (0, 1).
pub(crate) fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(Error::OutOfRange {
        what: "a level of confidence",
        index: 0,
        value: level,
        range: "(0, 1)",
    })
}
