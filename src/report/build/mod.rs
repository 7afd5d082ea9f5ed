//! Builds the model of a report from the results of an experiment.
//!
//! One file per section; each says what is missing and which stage would give
//! it, rather than leaving a gap.

mod calibration;
mod distributions;
mod header;
mod histogram;
mod judge;
mod labels;
mod margins;
mod paired;
mod perplexity;
mod provenance;
mod rewards;
mod samples;
mod scaling;
mod seeds;
mod settings;
mod stages;
mod timings;
mod training;

use std::path::Path;

use moreline_protocol::spec::StageKind;

use super::evaluations::Evaluations;
use super::input::{ReportInput, ReportStage};
use super::model::{Block, Report, Section};
use super::results::Results;
use labels::Labels;

/// What every section is built from.
struct Source<'a> {
    input: &'a ReportInput,
    labels: Labels,
    evaluations: Evaluations,
}

impl<'a> Source<'a> {
    /// The stages of a kind, in the experiment's order.
    fn of_kind(&self, kind: StageKind) -> Vec<&'a ReportStage> {
        let stages = self.input.stages.iter();
        stages.filter(|stage| stage.kind() == kind).collect()
    }

    /// The stages of a kind that have results; what to say of the others is
    /// added to `blocks`.
    fn finished(&self, kind: StageKind, blocks: &mut Vec<Block>) -> Vec<&'a ReportStage> {
        let (finished, open): (Vec<_>, Vec<_>) = self
            .of_kind(kind)
            .into_iter()
            .partition(|stage| stage.state.has_results());
        blocks.extend(without_results(&open));
        finished
    }

    fn stage(&self, name: &str) -> Option<&'a ReportStage> {
        self.input.stages.iter().find(|stage| stage.name == name)
    }
}

/// Most stages that a sentence names.
const MOST_NAMED: usize = 8;

/// Says which stages have no results and why: those that failed one by one, the
/// others together.
fn without_results(stages: &[&ReportStage]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut states: Vec<(&str, Vec<&str>)> = Vec::new();
    for stage in stages {
        let word = stage.state.word();
        if let Some(error) = &stage.error {
            let sentence = format!("No results of stage {} ({word}: {error}).", stage.name);
            blocks.push(Block::Missing(sentence));
            continue;
        }
        match states.iter_mut().find(|(known, _)| *known == word) {
            Some((_, names)) => names.push(&stage.name),
            None => states.push((word, vec![&stage.name])),
        }
    }
    let together = states.into_iter().map(|(word, names)| {
        let sentence = format!("No results of {} ({word}).", listed(&names));
        Block::Missing(sentence)
    });
    blocks.extend(together);
    blocks
}

/// `stage a`, `stages a, b`, `stages a, ..., h and 7 others`.
fn listed(names: &[&str]) -> String {
    let noun = if names.len() == 1 { "stage" } else { "stages" };
    let shown = names.len().min(MOST_NAMED);
    let text = format!("{noun} {}", names[..shown].join(", "));
    match names.len() - shown {
        0 => text,
        1 => format!("{text} and 1 other"),
        more => format!("{text} and {more} others"),
    }
}

/// A section that needs a kind of stage which the experiment lacks.
fn absent(what: &str, kind: StageKind) -> Block {
    Block::Missing(format!(
        "This experiment has no {what}; a stage of kind {} would give it.",
        kind.name()
    ))
}

impl Report {
    /// Builds the report; paths are shown relative to `dir`.
    pub fn build(input: &ReportInput, dir: &Path) -> Self {
        let source = Source {
            input,
            labels: Labels::new(input),
            evaluations: Evaluations::read(input),
        };
        let section = |id, heading: &str, blocks| Section {
            id,
            heading: heading.into(),
            blocks,
        };
        let comparisons = source.evaluations.comparisons.clone();
        Self {
            title: input.title.clone(),
            facts: header::facts(input),
            warnings: header::warnings(input),
            tiles: header::tiles(&source),
            sections: vec![
                section("stages", "Stages", stages::blocks(&source)),
                section(
                    "rewards",
                    "Reward models: accuracy",
                    rewards::blocks(&source),
                ),
                section(
                    "calibration",
                    "Reward models: calibration",
                    calibration::blocks(&source),
                ),
                section("training", "Training", training::blocks(&source)),
                section(
                    "distributions",
                    "Rewards of responses",
                    distributions::blocks(&source),
                ),
                section("judge", "Judge", judge::blocks(&source)),
                section("perplexity", "Perplexity", perplexity::blocks(&source)),
                section("samples", "Sample texts", samples::blocks(&source)),
                section("timings", "Timings", timings::blocks(&source)),
                section("settings", "Settings", settings::blocks(&source)),
                section("provenance", "Provenance", provenance::blocks(&source)),
            ],
            results: Results::new(input, comparisons, dir),
        }
    }
}
