//! What differs between two experiments, each as its file is now or as a run
//! found it: settings, stages, data, and what the stages measured.
//!
//! Reads only, takes no locks: a run that goes on is compared as far as it came.

mod data;
mod figures;
mod paired;
mod pairing;
mod side;

use std::path::PathBuf;
use std::sync::Arc;

use moreline_protocol::spec::StageKind;
use serde::Serialize;

use super::EngineError;
use super::runs::{PastRun, RunState};
use crate::config::{Experiment, Site};
use crate::plan::{Change, StageKey};
use crate::store::Store;
pub use data::{DataDiff, DataKind, DataSide, RowChanges, Rows};
pub use figures::{Bounds, FigureDiff};
use side::{Side, SideStage};

/// One side of a comparison.
#[derive(Debug)]
pub enum Version<'a> {
    /// An experiment as its file is now.
    File {
        /// The experiment.
        experiment: &'a Experiment,
        /// Its site.
        site: &'a Site,
    },
    /// An experiment as a run found it.
    Run {
        /// The run's cache.
        store: Arc<Store>,
        /// The run.
        run: &'a PastRun,
    },
}

/// What differs between two sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The first side.
    pub a: SideLabel,
    /// The second side, which is told as the change of the first.
    pub b: SideLabel,
    /// True if nothing differs.
    pub same: bool,
    /// The stages of the second side, then those that only the first has.
    pub stages: Vec<StageDiff>,
    /// The data, prompts and models that differ.
    pub data: Vec<DataDiff>,
}

/// What a side is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SideLabel {
    /// The experiment file.
    pub experiment: PathBuf,
    /// True for a rehearsal.
    pub smoke: bool,
    /// The run; absent for the file as it is now.
    pub run: Option<RunLabel>,
}

/// Which run a side is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunLabel {
    /// Its id.
    pub id: String,
    /// When it started: RFC 3339, UTC.
    pub started: String,
    /// How it ended.
    pub state: RunState,
}

/// One stage of either side, or of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageDiff {
    /// Its name: that of the second side, if it is there.
    pub name: String,
    /// Its kind.
    pub kind: StageKind,
    /// Where it is, and by what its partner was found.
    pub found: FoundBy,
    /// Its name on the first side, if that was another.
    pub was: Option<String>,
    /// The fields that differ.
    pub changes: Vec<Change>,
    /// What becomes of it on the second side; absent if it is not there.
    pub outcome: Option<StageOutcome>,
    /// The figures that differ, where both sides have measured.
    pub figures: Vec<FigureDiff>,
}

/// Where a stage is, and by what its partner was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// On both sides, under one name.
    Name,
    /// Renamed: on both sides with the same key.
    Key,
    /// Renamed: on both sides with the same settings and inputs.
    Content,
    /// On the first side alone.
    OnlyA,
    /// On the second side alone.
    OnlyB,
}

/// What becomes of a stage: what a run of the file would do with it, or how it
/// ended in the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageOutcome {
    /// `cached`, `run`, `maybe` or `missing-input` for a file; `ran`, `cached`,
    /// `cut-off`, `failed`, ... for a run.
    pub state: String,
    /// Why, in one line.
    pub why: String,
    /// Its key, if its inputs are known.
    pub key: Option<StageKey>,
}

impl StageDiff {
    /// True if anything of it differs.
    pub fn differs(&self) -> bool {
        self.found != FoundBy::Name || !self.changes.is_empty() || !self.figures.is_empty()
    }
}

/// Compares two sides.
///
/// # Errors
/// A store or a run's record cannot be read.
pub fn diff(a: &Version<'_>, b: &Version<'_>) -> Result<Diff, EngineError> {
    let (a, b) = (Side::read(a)?, Side::read(b)?);
    let partners = pairing::pair(&a, &b);
    let mut stages: Vec<StageDiff> = b
        .stages
        .iter()
        .zip(&partners)
        .map(|(stage, partner)| match partner {
            Some(partner) => pair_diff(&a, &b, &a.stages[partner.index], stage, partner),
            None => only(stage, FoundBy::OnlyB),
        })
        .collect();
    let gone = (0..a.stages.len()).filter(|index| {
        !partners
            .iter()
            .flatten()
            .any(|partner| partner.index == *index)
    });
    stages.extend(gone.map(|index| only(&a.stages[index], FoundBy::OnlyA)));
    let data = data::compare(&a, &b, &partners);
    let same = data.is_empty() && !stages.iter().any(StageDiff::differs);
    let _ = b.store.save_memo();
    Ok(Diff {
        a: a.label,
        b: b.label,
        same,
        stages,
        data,
    })
}

fn only(stage: &SideStage, found: FoundBy) -> StageDiff {
    StageDiff {
        name: stage.name.clone(),
        kind: stage.version.kind,
        found,
        was: None,
        changes: Vec::new(),
        outcome: (found == FoundBy::OnlyB).then(|| stage.outcome.clone()),
        figures: Vec::new(),
    }
}

fn pair_diff(
    a: &Side,
    b: &Side,
    old: &SideStage,
    new: &SideStage,
    partner: &pairing::Partner,
) -> StageDiff {
    let mut changes = pairing::changes(old, new);
    changes.retain(|change| !partner.is_rename(change));
    StageDiff {
        name: new.name.clone(),
        kind: new.version.kind,
        found: partner.found,
        was: (old.name != new.name).then(|| old.name.clone()),
        changes,
        outcome: Some(new.outcome.clone()),
        figures: figures::compare((a, old), (b, new)),
    }
}
