//! The pairwise logistic ranking loss of a group of responses to one prompt.

use moreline_protocol::spec::Ties;
use moreline_stats::logistic::{log_sigmoid, sigmoid};

/// The responses to one prompt. Its length is that of its slices: there is no padding, and
/// any finite score, negative ones too, is a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group<'a> {
    /// Rewards the model gives `[K]`.
    pub rewards: &'a [f64],
    /// Scores of the preference set `[K]`; higher is better, equal is a tie.
    pub scores: &'a [f64],
}

/// What is added to the plain ranking loss.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ranking {
    /// Margin per unit of score difference, not negative; 0 for none (Touvron et al. 2023,
    /// "Llama 2", eq. 2, with a margin proportional to the difference of scores).
    pub margin: f64,
    /// Factor of the centring penalty `(r_better + r_worse)²` of each pair, not negative; 0
    /// for none (Eisenstein et al. 2023, "Helping or Herding?", arXiv 2312.09244).
    pub centring: f64,
    /// What becomes of pairs whose scores are tied.
    pub ties: Ties,
    /// Scores that differ by no more than this are tied, not negative.
    pub noise_margin: f64,
}

impl Ranking {
    /// Whether two scores are tied.
    fn tied(&self, a: f64, b: f64) -> bool {
        (a - b).abs() <= self.noise_margin
    }

    /// Number of pairs that count.
    pub fn pairs(&self, scores: &[f64]) -> usize {
        let count = scores.len();
        if self.ties == Ties::Half {
            return count * count.saturating_sub(1) / 2;
        }
        let later = |i: usize| {
            let others = scores[i + 1..].iter();
            others
                .filter(|&&other| !self.tied(scores[i], other))
                .count()
        };
        (0..count).map(later).sum()
    }
}

/// Sums over the ordered pairs of a group. Divide by the number of pairs of the whole global
/// batch (see [`mean_loss`]), so that the loss does not depend on how a batch is cut.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupLoss {
    /// Sum over pairs of `-ln sigmoid(r_better - r_worse - margin (s_better - s_worse))`, in
    /// nats, with the centring penalty; over tied pairs, where they count, the mean of that
    /// of both orders without a margin.
    pub loss: f64,
    /// The share of `loss` that is the centring penalty.
    pub centring: f64,
    /// Number of pairs that count, tied ones among them where those do; each counts once.
    pub pairs: usize,
    /// Tied pairs among them.
    pub ties: usize,
    /// Pairs that are not tied whose better response has the higher reward; equal rewards count half.
    pub correct: f64,
    /// Sum over pairs that are not tied of `r_better - r_worse`.
    pub reward_margin: f64,
    /// Derivative of `loss` with respect to the rewards `[K]`.
    pub gradient: Vec<f64>,
}

/// Why a group has no loss; each message completes "failed to ...".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RankingError {
    /// Not one score per reward.
    #[error("rank responses: {rewards} rewards for {scores} scores")]
    Lengths {
        /// Number of rewards.
        rewards: usize,
        /// Number of scores.
        scores: usize,
    },
    /// A NaN or an infinity.
    #[error("rank responses: the {what} of response {index} (from 0) is not finite")]
    NotFinite {
        /// What is not finite.
        what: &'static str,
        /// The response.
        index: usize,
    },
    /// A negative or not finite setting.
    #[error("rank responses: {name} is {value}, but must be a number not below 0")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: f64,
    },
}

/// The loss of all pairs of a group, and its gradient in closed form: with `z` the argument
/// of the sigmoid, each pair adds `-sigmoid(-z)` to the derivative of the better reward and
/// `sigmoid(-z)` to that of the worse. A tied pair, where those count, adds
/// `-(ln sigmoid(d) + ln sigmoid(-d)) / 2` with `d` the difference of its rewards, and
/// `(sigmoid(d) - sigmoid(-d)) / 2` to the derivative of the one that `d` has with a plus.
/// Groups without pairs (fewer than two responses, or ties that do not count) have zero
/// pairs, loss and gradient.
///
/// # Errors
/// Different lengths, values that are not finite, or a negative setting.
pub fn ranking_loss(group: Group<'_>, settings: Ranking) -> Result<GroupLoss, RankingError> {
    check(group, settings)?;
    let Group { rewards, scores } = group;
    let mut found = GroupLoss {
        gradient: vec![0.0; rewards.len()],
        ..GroupLoss::default()
    };
    for better in 0..scores.len() {
        for worse in 0..scores.len() {
            if settings.tied(scores[better], scores[worse]) {
                if settings.ties == Ties::Half && better < worse {
                    found.add_tie(group, (better, worse), settings);
                }
            } else if scores[better] > scores[worse] {
                found.add(group, (better, worse), settings);
            }
        }
    }
    found.loss += found.centring;
    Ok(found)
}

impl GroupLoss {
    /// Adds one pair; the centring penalty to its own sum only.
    fn add(&mut self, group: Group<'_>, (better, worse): (usize, usize), settings: Ranking) {
        let (high, low) = (group.rewards[better], group.rewards[worse]);
        let difference = high - low;
        let z = difference - settings.margin * (group.scores[better] - group.scores[worse]);
        let slope = sigmoid(-z);
        let pull = 2.0 * settings.centring * (high + low);
        self.loss -= log_sigmoid(z);
        self.centring += settings.centring * (high + low).powi(2);
        self.gradient[better] += pull - slope;
        self.gradient[worse] += pull + slope;
        self.pairs += 1;
        self.reward_margin += difference;
        self.correct += if difference > 0.0 {
            1.0
        } else if difference == 0.0 {
            0.5
        } else {
            0.0
        };
    }

    /// Adds one tied pair, likewise.
    fn add_tie(&mut self, group: Group<'_>, (one, other): (usize, usize), settings: Ranking) {
        let (high, low) = (group.rewards[one], group.rewards[other]);
        let difference = high - low;
        let slope = 0.5 * (sigmoid(difference) - sigmoid(-difference));
        let pull = 2.0 * settings.centring * (high + low);
        self.loss -= 0.5 * (log_sigmoid(difference) + log_sigmoid(-difference));
        self.centring += settings.centring * (high + low).powi(2);
        self.gradient[one] += pull + slope;
        self.gradient[other] += pull - slope;
        self.pairs += 1;
        self.ties += 1;
    }
}

/// The published ranking loss of a batch: the mean over the pairs of all groups together
/// (not the mean of the groups' means). `None` where there are no pairs (published: 0).
pub fn mean_loss(groups: &[GroupLoss]) -> Option<f64> {
    per_pair(groups, groups.iter().map(|group| group.loss).sum())
}

/// The published weighted ranking loss of a batch of B groups, one weight each:
/// `B sum(weight loss) / pairs`, with `loss` the group's sum over its pairs and `pairs` those
/// of all groups. With equal counts of pairs per group it is the weighted sum of the groups'
/// mean losses. `None` where there are no pairs (published: 0) or not one weight per group.
pub fn weighted_mean_loss(groups: &[GroupLoss], weights: &[f64]) -> Option<f64> {
    if groups.len() != weights.len() {
        return None;
    }
    let sum: f64 = groups
        .iter()
        .zip(weights)
        .map(|(group, weight)| weight * group.loss)
        .sum();
    per_pair(groups, sum * groups.len() as f64)
}

/// The share of pairs ranked rightly, equal rewards counting half and ties nothing; `None`
/// without pairs that are not tied.
pub fn accuracy(groups: &[GroupLoss]) -> Option<f64> {
    let decided: usize = groups.iter().map(|group| group.pairs - group.ties).sum();
    let correct: f64 = groups.iter().map(|group| group.correct).sum();
    (decided > 0).then(|| correct / decided as f64)
}

fn per_pair(groups: &[GroupLoss], sum: f64) -> Option<f64> {
    let pairs: usize = groups.iter().map(|group| group.pairs).sum();
    (pairs > 0).then(|| sum / pairs as f64)
}

fn check(group: Group<'_>, settings: Ranking) -> Result<(), RankingError> {
    let (rewards, scores) = (group.rewards.len(), group.scores.len());
    if rewards != scores {
        return Err(RankingError::Lengths { rewards, scores });
    }
    for (what, values) in [("reward", group.rewards), ("score", group.scores)] {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(RankingError::NotFinite { what, index });
        }
    }
    for (name, value) in [
        ("margin", settings.margin),
        ("centring", settings.centring),
        ("noise_margin", settings.noise_margin),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(RankingError::Setting { name, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
