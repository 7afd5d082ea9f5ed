//! Calibration of a set: errors and curves for several bins, and what temperature
//! scaling would make of them.

use moreline_protocol::spec::EvaluateReward;
use moreline_stats::calibration::{
    Binning, Calibration, Change, Confidence, CrossFit, HeldOut, ReliabilityBin, calibration,
    cross_fit_temperature, halves,
};
use moreline_stats::interval::wilson;
use serde_json::{Map, Value, json};

use super::columns::Columns;

/// Level of the bins' intervals.
const LEVEL: f64 = 0.95;

/// Calibration of the confidence for every number of bins asked for, by equal bins and by
/// quantiles: `uniform-10`, `quantile-10`, ...; and the one of the first, equal bins.
///
/// # Errors
/// No margin, or one that is not finite.
pub(super) fn all_bins(
    margins: &[f64],
    spec: &EvaluateReward,
) -> moreline_stats::Result<(Map<String, Value>, Calibration)> {
    let found = Confidence::of_margins(margins)?;
    let one =
        |bins: u32, binning| calibration(&found.confidence, &found.correct, bins as usize, binning);
    let counts = spec.bins.counts();
    let main = one(counts.first().copied().unwrap_or(0), Binning::Uniform)?;
    let mut all = Map::new();
    for &bins in counts {
        for (name, binning) in [
            ("uniform", Binning::Uniform),
            ("quantile", Binning::Quantile),
        ] {
            let found = one(bins, binning)?;
            let figures = json!({
                "ece": found.ece,
                "ace": found.ace,
                "mce": found.mce,
                "reliability": curve(&found)?,
            });
            all.insert(format!("{name}-{bins}"), figures);
        }
    }
    Ok((all, main))
}

/// A reliability curve, each bin with Wilson's interval of its accuracy. Empty bins have a
/// count of 0 and no accuracy.
///
/// # Errors
/// None that bins of a calibration could give.
pub(super) fn curve(found: &Calibration) -> moreline_stats::Result<Vec<Value>> {
    found.curve.iter().map(bin).collect()
}

fn bin(bin: &ReliabilityBin) -> moreline_stats::Result<Value> {
    let mut value = json!({
        "lower": bin.lower,
        "upper": bin.upper,
        "count": bin.count,
        "confidence": bin.mean_confidence,
        "accuracy": bin.accuracy,
    });
    if let Some(accuracy) = bin.accuracy {
        let right = (accuracy * bin.count as f64).round() as u64;
        let interval = wilson(right, bin.count as u64, LEVEL)?;
        value["accuracy_low"] = interval.lower.into();
        value["accuracy_high"] = interval.upper.into();
    }
    Ok(value)
}

/// Temperature scaling, fitted on a seeded half of the records and measured on the other,
/// both ways; or why there is no temperature.
pub(super) fn temperature(columns: &Columns, records: usize, spec: &EvaluateReward) -> Value {
    let records = halves(records, spec.seed);
    let first: Vec<bool> = columns.record.iter().map(|&r| records[r]).collect();
    let bins = spec.bins.counts().first().map_or(0, |bins| *bins as usize);
    match cross_fit_temperature(&columns.margins, &first, bins) {
        Ok(found) => fitted(&found),
        Err(error) => {
            let text = error.to_string();
            let reason = text.split_once(": ").map_or(text.as_str(), |(_, why)| why);
            json!({ "undetermined": reason })
        }
    }
}

fn fitted(found: &CrossFit) -> Value {
    let mut value = changes(&found.overall);
    let half = |half: &HeldOut| {
        let mut value = changes(&half.change);
        value["temperature"] = half.temperature.into();
        value["fitted_pairs"] = half.fitted_pairs.into();
        value["pairs"] = half.pairs.into();
        value
    };
    value["first_half"] = half(&found.halves[0]);
    value["second_half"] = half(&found.halves[1]);
    value
}

fn changes(change: &Change) -> Value {
    json!({
        "nll_before": change.nll_before,
        "nll_after": change.nll_after,
        "ece_before": change.ece_before,
        "ece_after": change.ece_after,
    })
}
