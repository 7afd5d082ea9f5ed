//! Weights for several objectives at once: pure functions of the tasks' gradients.
//!
//! MORE ("On Diversified Preferences of Large Language Model Alignment", arXiv 2312.07401)
//! takes the min-norm point of the convex hull of the tasks' reward-head gradients, as MGDA
//! does (Désidéri 2012; Sener and Koltun 2018, arXiv 1810.04650): if it is not zero, the
//! step it weights lowers every task's loss. All the solvers see is the [`Gram`] matrix.

mod active_set;
mod error;
mod frank_wolfe;
#[cfg(test)]
mod golden;
mod gram;
mod min_norm;
mod normalize;
mod weights;

pub use error::ObjectiveError;
pub use frank_wolfe::{FrankWolfe, frank_wolfe};
pub use gram::{Gram, gram};
pub use min_norm::min_norm_exact;
pub use normalize::{Normalize, denominators, normalized};
pub use weights::Weights;
