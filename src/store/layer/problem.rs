//! What can be wrong with a layer.

use crate::store::StoreError;

/// Why a layer could not be used. Never ends a run, unless the user stopped it.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayerProblem {
    /// It cannot be opened as it is configured.
    #[error("{0}")]
    Configured(String),
    /// It does not answer, or not in time, or not to us.
    #[error("failed to reach it: {0}")]
    Unreachable(String),
    /// What it holds is not what it should be.
    #[error("{0}; it is not used")]
    Refused(String),
    /// Reading or writing on this machine failed.
    #[error(transparent)]
    Local(#[from] StoreError),
}

impl LayerProblem {
    /// True if the user stopped the run.
    pub(super) fn is_stop(&self) -> bool {
        matches!(self, Self::Local(StoreError::Stopped))
    }
}

/// Why one request did not give what was asked for.
#[derive(Debug)]
pub(super) enum Missed {
    /// There is no such thing.
    Absent,
    /// It is larger, or smaller, than it may be.
    WrongSize,
    /// It is larger than anything of its kind that is read, in bytes.
    TooLarge(u64),
    /// There is one already.
    Exists,
    /// The layer cannot say whether there is one already.
    NoCreate,
    /// Anything else.
    Failed(String),
}

impl Missed {
    /// The problem, with a name for what was asked for.
    pub(super) fn of(self, what: &str) -> LayerProblem {
        match self {
            Self::Absent => LayerProblem::Refused(format!("{what} is gone from it")),
            Self::WrongSize => LayerProblem::Refused(format!("{what} has the wrong size")),
            Self::TooLarge(max) => {
                LayerProblem::Refused(format!("{what} is larger than {max} bytes"))
            }
            Self::Exists | Self::NoCreate => {
                LayerProblem::Refused(format!("{what} is there already"))
            }
            Self::Failed(problem) => LayerProblem::Unreachable(problem),
        }
    }
}
