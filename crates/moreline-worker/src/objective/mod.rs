//! Weights for several objectives at once: pure functions of the tasks' gradients.
//!
//! MORE ("On Diversified Preferences of Large Language Model Alignment", arXiv 2312.07401)
//! takes the min-norm point of the convex hull of the tasks' reward-head gradients, as MGDA
//! does (Désidéri 2012; Sener and Koltun 2018, arXiv 1810.04650): if it is not zero, the
//! step it weights lowers every task's loss. All the solvers see is the [`Gram`] matrix.
//! Its rivals give weights in the same form: [`pcgrad`] from the same matrix, [`dwa`] from
//! the course of the losses.

mod active_set;
mod dwa;
mod error;
mod frank_wolfe;
#[cfg(test)]
mod golden;
mod gram;
mod min_norm;
mod normalize;
mod pcgrad;
mod weights;

pub use dwa::{Descent, dwa};
pub use error::ObjectiveError;
pub use frank_wolfe::{FrankWolfe, frank_wolfe};
pub use gram::{Gram, gram};
pub use min_norm::min_norm_exact;
pub use normalize::{Normalize, denominators, normalized};
pub use pcgrad::pcgrad;
pub use weights::Weights;
