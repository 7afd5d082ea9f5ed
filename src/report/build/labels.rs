//! Short names and steady colours for stages and sets.

use moreline_protocol::spec::EVALUATE_ON;

use super::super::input::{ReportInput, ReportStage};

/// Which colour a method or a set has throughout the report.
pub(super) struct Labels {
    cells: Vec<String>,
    sets: Vec<String>,
}

impl Labels {
    pub(super) fn new(input: &ReportInput) -> Self {
        let mut labels = Self {
            cells: Vec::new(),
            sets: Vec::new(),
        };
        for stage in &input.stages {
            if !stage.cell.is_empty() {
                add(&mut labels.cells, cell(stage));
            }
            let held_out = stage.references(EVALUATE_ON);
            let sets = stage.references("data").into_iter().chain(stage.sets());
            for set in sets.chain(held_out) {
                add(&mut labels.sets, set);
            }
        }
        labels
    }

    /// Colour of a stage: that of its matrix cell, so that a method keeps its
    /// colour, or for stages outside the matrix one after the cells'.
    pub(super) fn stage_colour(&self, stage: &ReportStage, position: usize) -> usize {
        let found = self.cells.iter().position(|name| *name == cell(stage));
        found.unwrap_or(self.cells.len() + position)
    }

    /// Colour of a preference or prompt set.
    pub(super) fn set_colour(&self, set: &str) -> usize {
        let found = self.sets.iter().position(|name| name == set);
        found.unwrap_or(self.sets.len())
    }
}

fn add(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
}

/// Values of a stage's matrix cell, for example `more, 7`.
fn cell(stage: &ReportStage) -> String {
    let values: Vec<_> = stage.cell.iter().map(|(_, value)| value.as_str()).collect();
    values.join(", ")
}

/// The shortest names that tell the stages apart: the matrix cells' values if
/// those differ, else the stages' own names.
pub(super) fn short_names(stages: &[&ReportStage]) -> Vec<String> {
    let cells: Vec<_> = stages.iter().map(|stage| cell(stage)).collect();
    let mut sorted = cells.clone();
    sorted.sort();
    sorted.dedup();
    if sorted.len() == cells.len() && !cells.iter().any(String::is_empty) {
        return cells;
    }
    stages.iter().map(|stage| stage.name.clone()).collect()
}
