//! What stands above the sections: facts, warnings and the main results.

use moreline_protocol::spec::StageKind;

use super::super::input::{ReportInput, ReportStage, StageStatus};
use super::super::model::Tile;
use super::super::number;
use super::labels::short_names;
use super::{Source, perplexity};

/// When, where, how long, and what was cached.
pub(super) fn facts(input: &ReportInput) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(finished) = &input.run.finished {
        add("Newest result", number::date(finished));
    }
    if let Some(seconds) = input.run.wall_seconds {
        add("This run took", number::duration(seconds));
    }
    let work: Vec<_> = input.stages.iter().filter_map(|s| s.seconds).collect();
    if !work.is_empty() {
        let total = number::duration(work.iter().sum());
        add("Work in all stages", total);
    }
    add("Stages", stage_counts(input));
    if !input.run.version.is_empty() {
        add("Made with", format!("moreline {}", input.run.version));
    }
    for (name, value) in &input.run.machine {
        add(name, value.clone());
    }
    facts
}

fn stage_counts(input: &ReportInput) -> String {
    use StageStatus::{Cached, CutOff, Failed, Pending, Ran, Skipped};
    let mut parts = vec![format!("{} in all", input.stages.len())];
    for state in [Ran, Cached, CutOff, Failed, Skipped, Pending] {
        let count = input.stages.iter().filter(|s| s.state == state).count();
        if count > 0 {
            parts.push(format!("{count} {}", state.word()));
        }
    }
    parts.join(", ")
}

/// What makes the numbers doubtful.
pub(super) fn warnings(input: &ReportInput) -> Vec<String> {
    let mut warnings = Vec::new();
    if input.smoke {
        warnings.push("A rehearsal on a few records per set: its numbers mean nothing.".into());
    }
    for stage in &input.stages {
        if stage.state == StageStatus::Failed {
            let error = stage.error.as_deref().unwrap_or("no reason was recorded");
            warnings.push(format!("Stage {} failed: {error}", stage.name));
        }
    }
    let open =
        |stage: &&ReportStage| matches!(stage.state, StageStatus::Pending | StageStatus::Skipped);
    let open: Vec<_> = input
        .stages
        .iter()
        .filter(open)
        .map(|s| s.name.as_str())
        .collect();
    if !open.is_empty() {
        warnings.push(format!("Without results so far: {}.", open.join(", ")));
    }
    warnings
}

/// The main results.
pub(super) fn tiles(source: &Source<'_>) -> Vec<Tile> {
    let mut tiles = accuracy(source);
    tiles.extend(win_rates(source));
    tiles.extend(perplexity::tiles(source));
    tiles
}

fn with_results<'a>(source: &Source<'a>, kind: StageKind) -> Vec<&'a ReportStage> {
    let mut stages = source.of_kind(kind);
    stages.retain(|stage| stage.state.has_results());
    stages
}

fn accuracy(source: &Source<'_>) -> Vec<Tile> {
    let stages = with_results(source, StageKind::EvaluateReward);
    let names = short_names(&stages);
    let tile = |(stage, name): (&&ReportStage, String)| {
        let value = stage.number(&["mean", "accuracy"])?;
        Some(Tile {
            label: format!("Reward accuracy, {name}"),
            value: number::percent(value),
            remark: format!("mean over {} sets", stage.sets().len()),
        })
    };
    stages.iter().zip(names).filter_map(tile).collect()
}

fn win_rates(source: &Source<'_>) -> Vec<Tile> {
    let stages = with_results(source, StageKind::Judge);
    let tile = |stage: &&ReportStage| {
        let value = stage.number(&["win_rate"])?;
        let low = stage.number(&["win_rate_low"]);
        let high = stage.number(&["win_rate_high"]);
        let remark = match (low, high) {
            (Some(low), Some(high)) => format!(
                "95 % interval {} to {}",
                number::fixed(100.0 * low, 1),
                number::percent(high)
            ),
            _ => "no interval recorded".into(),
        };
        let side = |role| stage.reference(role).unwrap_or_default();
        Some(Tile {
            label: format!("Win rate, {} over {}", side("a"), side("b")),
            value: number::percent(value),
            remark,
        })
    };
    stages.iter().filter_map(tile).collect()
}
