//! Losses as pure functions: rewards in, a loss and its gradient out.

mod ranking;

pub use ranking::{
    Group, GroupLoss, Ranking, RankingError, accuracy, mean_loss, ranking_loss, weighted_mean_loss,
};
