//! What verdicts add up to.

use moreline_protocol::event::Metrics;
use moreline_protocol::rows::{Verdict, VerdictRow};
use moreline_protocol::spec::Judge;
use moreline_stats::winrate::{self, BothOrders};
use moreline_stats::{Bootstrap, Interval};
use serde_json::json;

use crate::records::metrics;

/// Metrics of a judged comparison, seen from side A. Rates are over the
/// verdicts that could be read, a tie counting half; intervals are at 95 %.
/// What is undefined (no verdict read, lengths that cannot be told from
/// quality) is left out.
pub(crate) fn summarise(spec: &Judge, rows: &[VerdictRow]) -> Metrics {
    let bootstrap = Bootstrap {
        replicates: spec.resamples as usize,
        level: 0.95,
        seed: spec.seed,
    };
    let read: Vec<_> = rows
        .iter()
        .filter_map(|r| Some((r, stat(r.verdict)?)))
        .collect();
    let verdicts: Vec<_> = read.iter().map(|(_, verdict)| *verdict).collect();
    let lengths: Vec<_> = read.iter().map(|(row, _)| length_difference(row)).collect();
    let mut all = metrics(json!({
        "prompts": rows.len(),
        "unparsed": rows.len() - read.len(),
    }));
    if let Ok(rate) = winrate::win_rate(&verdicts, &bootstrap) {
        let [win, tie, loss] = rate.shares();
        all.extend(metrics(json!({
            "win": rate.wins, "tie": rate.ties, "loss": rate.losses,
            "win_share": win, "tie_share": tie, "loss_share": loss,
        })));
        insert_interval(&mut all, "win_rate", &rate.win_rate);
    }
    if let Ok(controlled) = winrate::length_controlled(&verdicts, &lengths, &bootstrap) {
        insert_interval(&mut all, "length_controlled_win_rate", &controlled.win_rate);
        all.insert("length_slope".into(), json!(controlled.length_slope));
    }
    all.extend(rewards(rows, &bootstrap));
    all.extend(positions(rows));
    all
}

/// Characters of A's response minus those of B's.
fn length_difference(row: &VerdictRow) -> f64 {
    row.a.chars().count() as f64 - row.b.chars().count() as f64
}

/// Mean rewards of an embedded judge, and their paired difference.
fn rewards(rows: &[VerdictRow], bootstrap: &Bootstrap) -> Metrics {
    let (a, b): (Vec<f64>, Vec<f64>) = rows
        .iter()
        .filter_map(|row| row.rewards.map(|[a, b]| (a, b)))
        .unzip();
    let Ok(paired) = bootstrap.paired_difference(&a, &b) else {
        return Metrics::new();
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut found = metrics(json!({
        "mean_reward_a": mean(&a),
        "mean_reward_b": mean(&b),
        "reward_p_value": paired.p_value,
    }));
    insert_interval(&mut found, "reward_difference", &paired.difference);
    found
}

/// Position bias of a judge that saw both orders of each pair.
fn positions(rows: &[VerdictRow]) -> Metrics {
    let both = |row: &VerdictRow| {
        let [a_first, b_first] = row.orders?;
        Some(BothOrders {
            candidate_first: stat(a_first)?,
            baseline_first: stat(b_first)?,
        })
    };
    let both: Vec<_> = rows.iter().filter_map(both).collect();
    match winrate::position_bias(&both) {
        Ok(bias) => metrics(json!({
            "position_consistency": bias.consistency,
            "position_bias": bias.bias,
        })),
        Err(_) => Metrics::new(),
    }
}

/// A verdict as the statistics see it; none if it could not be read.
pub(crate) fn stat(verdict: Verdict) -> Option<winrate::Verdict> {
    match verdict {
        Verdict::Win => Some(winrate::Verdict::Win),
        Verdict::Tie => Some(winrate::Verdict::Tie),
        Verdict::Loss => Some(winrate::Verdict::Loss),
        Verdict::Unparsed => None,
    }
}

fn insert_interval(metrics: &mut Metrics, name: &str, interval: &Interval) {
    metrics.insert(name.into(), json!(interval.estimate));
    metrics.insert(format!("{name}_low"), json!(interval.lower));
    metrics.insert(format!("{name}_high"), json!(interval.upper));
}
