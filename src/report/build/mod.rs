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
        for stage in open {
            blocks.push(Block::Missing(without_results(stage)));
        }
        finished
    }

    fn stage(&self, name: &str) -> Option<&'a ReportStage> {
        self.input.stages.iter().find(|stage| stage.name == name)
    }
}

/// Says that a stage has no results and why.
fn without_results(stage: &ReportStage) -> String {
    let why = match &stage.error {
        Some(error) => format!("{}: {error}", stage.state.word()),
        None => stage.state.word().to_owned(),
    };
    format!("No results of stage {} ({why}).", stage.name)
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
