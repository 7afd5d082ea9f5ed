//! The ranking loss against the published one and closed forms.

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
