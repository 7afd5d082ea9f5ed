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
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct File {
        ranking: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        logits: Vec<Vec<f64>>,
        scores: Vec<Vec<f64>>,
        weights: Vec<f64>,
        ranking_loss: f64,
        more_ranking_loss: f64,
    }

    fn plain(rewards: &[f64], scores: &[f64]) -> GroupLoss {
        ranking_loss(Group { rewards, scores }, Ranking::default()).unwrap()
    }

    /// The golden rows pad with a score of -1; here padding is simply left out.
    fn without_padding(logits: &[f64], scores: &[f64]) -> GroupLoss {
        let kept: (Vec<f64>, Vec<f64>) = logits
            .iter()
            .zip(scores)
            .filter(|(_, score)| **score >= 0.0)
            .unzip();
        plain(&kept.0, &kept.1)
    }

    #[test]
    fn agrees_with_the_published_losses() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/more.json"
        ));
        let file: File = serde_json::from_str(text).unwrap();
        assert_eq!(file.ranking.len(), 16);
        for case in &file.ranking {
            let rows = case.logits.iter().zip(&case.scores);
            let groups: Vec<GroupLoss> = rows.map(|(l, s)| without_padding(l, s)).collect();
            let found = mean_loss(&groups).unwrap_or(0.0);
            assert!(
                (found - case.ranking_loss).abs() < 1e-6,
                "{found} {}",
                case.ranking_loss
            );
            let found = weighted_mean_loss(&groups, &case.weights).unwrap_or(0.0);
            let wanted = case.more_ranking_loss;
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
    }

    #[test]
    fn one_pair_by_hand() {
        let found = plain(&[3f64.ln(), 0.0], &[1.0, 0.0]);
        assert!((found.loss + 0.75f64.ln()).abs() < 1e-15);
        assert!((found.gradient[0] + 0.25).abs() < 1e-15);
        assert!((found.gradient[1] - 0.25).abs() < 1e-15);
        assert_eq!((found.pairs, found.correct, found.centring), (1, 1.0, 0.0));
    }

    #[test]
    fn a_negative_score_is_a_score() {
        assert_eq!(
            plain(&[0.3, -0.2], &[-1.0, -2.0]),
            plain(&[0.3, -0.2], &[2.0, 1.0])
        );
        assert_eq!(plain(&[0.3, -0.2], &[-1.0, 0.0]).correct, 0.0);
    }

    #[test]
    fn ties_are_no_pairs_and_no_pairs_have_no_mean() {
        let found = plain(&[1.0, 2.0, 3.0], &[0.0, 0.0, 1.0]);
        assert_eq!(found.pairs, 2);
        let none = plain(&[1.0, 2.0], &[4.0, 4.0]);
        assert_eq!(
            (none.pairs, none.loss, none.gradient.as_slice()),
            (0, 0.0, &[0.0, 0.0][..])
        );
        assert_eq!(
            (mean_loss(std::slice::from_ref(&none)), accuracy(&[none])),
            (None, None)
        );
        assert_eq!(plain(&[1.0, 1.0], &[1.0, 0.0]).correct, 0.5);
    }

    fn with(rewards: &[f64], scores: &[f64], ties: Ties, noise_margin: f64) -> GroupLoss {
        let settings = Ranking {
            ties,
            noise_margin,
            ..Ranking::default()
        };
        ranking_loss(Group { rewards, scores }, settings).unwrap()
    }

    #[test]
    fn a_half_weighted_tie_by_hand() {
        // sigmoid(ln 3) = 3/4: -(ln 3/4 + ln 1/4) / 2, and (3/4 - 1/4) / 2.
        let found = with(&[3f64.ln(), 0.0], &[2.0, 2.0], Ties::Half, 0.0);
        assert!((found.loss + 0.5 * (0.75f64.ln() + 0.25f64.ln())).abs() < 1e-15);
        assert!((found.gradient[0] - 0.25).abs() < 1e-15);
        assert!((found.gradient[1] + 0.25).abs() < 1e-15);
        assert_eq!((found.pairs, found.ties, found.correct), (1, 1, 0.0));
        assert_eq!((found.reward_margin, accuracy(&[found])), (0.0, None));
        // Least, ln 2, where the rewards are equal.
        let equal = with(&[0.7, 0.7], &[2.0, 2.0], Ties::Half, 0.0);
        assert!((equal.loss - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!(equal.gradient, [0.0, 0.0]);
    }

    #[test]
    fn scores_within_the_noise_are_ties() {
        let (rewards, scores) = ([0.4, 0.1, -0.3], [2.0, 1.5, 0.0]);
        let plain = plain(&rewards, &scores);
        assert_eq!(with(&rewards, &scores, Ties::Skip, 0.4), plain);
        let skipped = with(&rewards, &scores, Ties::Skip, 0.5);
        let pair = |a: usize, b: usize| log_sigmoid(rewards[a] - rewards[b]);
        assert_eq!((skipped.pairs, skipped.ties), (2, 0));
        assert!((skipped.loss + pair(0, 2) + pair(1, 2)).abs() < 1e-15);
        let half = with(&rewards, &scores, Ties::Half, 0.5);
        assert_eq!((half.pairs, half.ties), (3, 1));
        assert!((half.loss - skipped.loss + 0.5 * (pair(0, 1) + pair(1, 0))).abs() < 1e-15);
        assert_eq!(
            (half.correct, half.reward_margin),
            (skipped.correct, skipped.reward_margin)
        );
    }

    #[test]
    fn pairs_are_counted_as_they_are_summed() {
        let count = |ties, noise_margin, scores: &[f64]| {
            Ranking {
                ties,
                noise_margin,
                ..Ranking::default()
            }
            .pairs(scores)
        };
        assert_eq!(count(Ties::Skip, 0.0, &[1.0, 1.0, 2.0]), 2);
        assert_eq!(count(Ties::Half, 0.0, &[1.0, 1.0, 2.0]), 3);
        assert_eq!(count(Ties::Skip, 1.0, &[1.0, 1.0, 2.0]), 0);
        assert_eq!(
            (count(Ties::Half, 0.0, &[]), count(Ties::Half, 0.0, &[1.0])),
            (0, 0)
        );
    }

    /// However many there are: every two of them are a pair, and each has a share.
    #[test]
    fn no_response_is_left_out() {
        let rewards: Vec<f64> = (0..7).map(|i| f64::from(i * i % 5) / 3.0).collect();
        let scores: Vec<f64> = (0..7).map(|i| f64::from(3 - i)).collect();
        let found = plain(&rewards, &scores);
        assert_eq!(found.pairs, 21);
        let pairs = (0..7).flat_map(|a| (a + 1..7).map(move |b| (a, b)));
        let sum: f64 = pairs
            .map(|(a, b)| log_sigmoid(rewards[a] - rewards[b]))
            .sum();
        assert!((found.loss + sum).abs() < 1e-12);
        assert!(found.gradient.iter().all(|slope| *slope != 0.0));
    }

    #[test]
    fn margin_and_centring_by_hand() {
        let group = Group {
            rewards: &[2.0, 1.0],
            scores: &[3.0, 1.0],
        };
        let found = ranking_loss(
            group,
            Ranking {
                margin: 0.5,
                ..Ranking::default()
            },
        )
        .unwrap();
        assert!((found.loss - std::f64::consts::LN_2).abs() < 1e-15);
        let found = ranking_loss(
            group,
            Ranking {
                margin: 0.5,
                centring: 0.01,
                ..Ranking::default()
            },
        )
        .unwrap();
        assert!((found.centring - 0.09).abs() < 1e-15);
        assert!((found.loss - std::f64::consts::LN_2 - 0.09).abs() < 1e-15);
    }

    #[test]
    fn far_rewards_neither_overflow_nor_vanish() {
        let found = plain(&[-1e6, 1e6], &[1.0, 0.0]);
        assert_eq!((found.loss, found.gradient), (2e6, vec![-1.0, 1.0]));
    }

    #[test]
    fn bad_input_is_an_error() {
        let loss = |rewards: &[f64], scores: &[f64], margin| {
            ranking_loss(
                Group { rewards, scores },
                Ranking {
                    margin,
                    ..Ranking::default()
                },
            )
        };
        assert!(matches!(
            loss(&[1.0], &[], 0.0),
            Err(RankingError::Lengths { .. })
        ));
        let nan = loss(&[1.0, f64::NAN], &[1.0, 0.0], 0.0);
        assert_eq!(
            nan,
            Err(RankingError::NotFinite {
                what: "reward",
                index: 1
            })
        );
        assert!(loss(&[1.0], &[f64::INFINITY], 0.0).is_err());
        assert!(matches!(
            loss(&[1.0], &[1.0], -1.0),
            Err(RankingError::Setting { .. })
        ));
    }

    proptest! {
        #[test]
        fn gradient_is_the_finite_difference(
            rows in prop::collection::vec((-3.0..3.0_f64, -2i8..3), 0..7),
            margin in 0.0..1.0_f64,
            centring in 0.0..0.5_f64,
            half in any::<bool>(),
            noise_margin in prop_oneof![Just(0.0), Just(1.0)],
        ) {
            let rewards: Vec<f64> = rows.iter().map(|row| row.0).collect();
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.1)).collect();
            let ties = if half { Ties::Half } else { Ties::Skip };
            let settings = Ranking { margin, centring, ties, noise_margin };
            let at = |rewards: &[f64]| {
                ranking_loss(Group { rewards, scores: &scores }, settings).unwrap()
            };
            prop_assert_eq!(at(&rewards).pairs, settings.pairs(&scores));
            let found = at(&rewards).gradient;
            let step = 1e-5;
            for i in 0..rewards.len() {
                let moved = |by: f64| {
                    let mut rewards = rewards.clone();
                    rewards[i] += by;
                    at(&rewards).loss
                };
                let wanted = (moved(step) - moved(-step)) / (2.0 * step);
                prop_assert!((found[i] - wanted).abs() < 1e-6, "{} {}", found[i], wanted);
            }
        }
    }
}
