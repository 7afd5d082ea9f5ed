//! Why weights could not be found.

/// Why weights could not be found; each message completes "failed to ...".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ObjectiveError {
    /// No task at all.
    #[error("weight tasks: there are none")]
    NoTasks,
    /// Gradients of different lengths, or a matrix that is not square.
    #[error("weight tasks: {what} {index} has {got} entries, {wanted} expected")]
    Shape {
        /// What is misshapen.
        what: &'static str,
        /// Its position.
        index: usize,
        /// Its length.
        got: usize,
        /// The length it should have.
        wanted: usize,
    },
    /// A NaN or an infinity (also from squares that overflow).
    #[error("weight tasks: the {what} of task {task} (from 0) is not finite")]
    NotFinite {
        /// What is not finite.
        what: &'static str,
        /// The task.
        task: usize,
    },
    /// A loss below zero, which no logistic ranking loss is.
    #[error("weight tasks: the loss of task {task} (from 0) is negative")]
    NegativeLoss {
        /// The task.
        task: usize,
    },
}
