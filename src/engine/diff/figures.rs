//! Figures that differ, with the intervals there are.

use std::collections::{BTreeMap, BTreeSet};

use moreline_protocol::spec::StageKind;
use moreline_stats::Interval;
use serde::Serialize;

use super::super::metrics::figures;
use super::paired;
use super::side::{Side, SideStage};

/// What the bounds of a figure's interval are called.
const BOUNDS: [&str; 2] = ["_low", "_high"];

/// A figure that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FigureDiff {
    /// Its path in the stage's metrics: `sets.helpful.accuracy`.
    pub name: String,
    /// On the first side; absent if it was not measured.
    pub a: Option<f64>,
    /// Its interval there, if one was measured.
    pub a_interval: Option<Bounds>,
    /// On the second side.
    pub b: Option<f64>,
    /// Its interval there.
    pub b_interval: Option<Bounds>,
    /// Second minus first.
    pub difference: Option<f64>,
    /// The interval of the difference: where both sides measured the same
    /// records, by the bootstrap over the records' own differences.
    pub interval: Option<Interval>,
}

/// The bounds of an interval, as its stage measured them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bounds {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

/// The figures of a stage by name.
type Figures = BTreeMap<String, f64>;

/// The figures of a stage that differ, where both sides have measured.
pub(super) fn compare(a: (&Side, &SideStage), b: (&Side, &SideStage)) -> Vec<FigureDiff> {
    let (Some(old), Some(new)) = (&a.1.metrics, &b.1.metrics) else {
        return Vec::new();
    };
    let (old, new) = (figures(old), figures(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let is_bound = |name: &str| {
        let mut ends = BOUNDS.iter().filter_map(|end| name.strip_suffix(end));
        ends.any(|base| old.contains_key(base) || new.contains_key(base))
    };
    let differs = |name: &&String| old.get(*name) != new.get(*name) && !is_bound(name);
    let names = names.into_iter().filter(differs);
    let mut found: Vec<FigureDiff> = names.map(|name| one(name, &old, &new)).collect();
    add_intervals(&mut found, a, b);
    found
}

fn one(name: &str, old: &Figures, new: &Figures) -> FigureDiff {
    let (a, b) = (old.get(name).copied(), new.get(name).copied());
    FigureDiff {
        name: name.to_owned(),
        a,
        a_interval: bounds(old, name),
        b,
        b_interval: bounds(new, name),
        difference: a.zip(b).map(|(a, b)| b - a),
        interval: None,
    }
}

fn bounds(of: &Figures, name: &str) -> Option<Bounds> {
    let [lower, upper] = BOUNDS.map(|end| of.get(&format!("{name}{end}")).copied());
    Some(Bounds {
        lower: lower?,
        upper: upper?,
    })
}

/// Intervals of those differences that can be paired record by record.
fn add_intervals(figures: &mut [FigureDiff], a: (&Side, &SideStage), b: (&Side, &SideStage)) {
    if a.1.version.kind != b.1.version.kind {
        return;
    }
    match b.1.version.kind {
        StageKind::EvaluateReward => {
            let accuracy = |figure: &FigureDiff| {
                let set = figure
                    .name
                    .strip_prefix("sets.")?
                    .strip_suffix(".accuracy")?;
                Some(set.to_owned())
            };
            let wanted = |figure: &FigureDiff| accuracy(figure).is_some();
            if !figures.iter().any(wanted) {
                return;
            }
            let mut sets = paired::accuracies(a, b);
            for figure in figures {
                let set = accuracy(figure);
                figure.interval = set.and_then(|set| sets.remove(&set)).filter(fits(figure));
            }
        }
        StageKind::Judge => {
            let rate = figures.iter_mut().find(|figure| figure.name == "win_rate");
            if let Some(figure) = rate {
                figure.interval = paired::win_rate(a, b).filter(fits(figure));
            }
        }
        _ => {}
    }
}

/// Whether an interval is that of the figure's own difference: records that do
/// not add up to what the stages measured prove nothing.
fn fits(figure: &FigureDiff) -> impl Fn(&Interval) -> bool + use<> {
    let difference = figure.difference;
    move |interval| difference.is_some_and(|found| (found - interval.estimate).abs() < 1e-9)
}
