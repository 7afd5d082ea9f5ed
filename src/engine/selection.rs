//! Which stages of an experiment a run, or a plan, is about.

use super::EngineError;
use super::session::Session;

/// Names of stages; a name without a cell takes all cells. Everything if all
/// lists are empty. Whatever is selected brings along what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// These.
    pub only: Vec<String>,
    /// These and all that depends on them.
    pub from: Vec<String>,
    /// Nothing that lies behind these.
    pub until: Vec<String>,
    /// Computed anew though their results are there.
    pub force: Vec<String>,
}

/// A selection, by the stages' indices.
pub(super) struct Chosen {
    pub(super) wanted: Vec<bool>,
    pub(super) forced: Vec<bool>,
}

impl Chosen {
    /// Every stage, none forced.
    pub(super) fn all(count: usize) -> Self {
        Self {
            wanted: vec![true; count],
            forced: vec![false; count],
        }
    }
}

impl Session<'_> {
    /// The stages of a selection.
    pub(super) fn choose(&self, selection: &Selection) -> Result<Chosen, EngineError> {
        let graph = &self.graph;
        let mut chosen = Chosen::all(graph.order().len());
        for names in [&selection.only, &selection.until] {
            if !names.is_empty() {
                keep(
                    &mut chosen.wanted,
                    &graph.with_ancestors(&self.named(names)?),
                );
            }
        }
        if !selection.from.is_empty() {
            let from = self.named(&selection.from)?;
            keep(&mut chosen.wanted, &graph.with_descendants(&from));
        }
        let kept: Vec<usize> = (0..chosen.wanted.len())
            .filter(|&i| chosen.wanted[i])
            .collect();
        if kept.is_empty() && !graph.order().is_empty() {
            return Err(EngineError::NothingSelected);
        }
        chosen.wanted = graph.with_ancestors(&kept);
        for index in self.named(&selection.force)? {
            if !chosen.wanted[index] {
                let stage = graph.stage(index).name.clone();
                return Err(EngineError::ForcedNotSelected { stage });
            }
            chosen.forced[index] = true;
        }
        Ok(chosen)
    }

    /// The stages of these names, base names taking every cell.
    fn named(&self, names: &[String]) -> Result<Vec<usize>, EngineError> {
        let stages = &self.graph.experiment().stages;
        let mut found = Vec::new();
        for name in names {
            let before = found.len();
            let named =
                |index: &usize| stages[*index].name == *name || stages[*index].base == *name;
            found.extend((0..stages.len()).filter(named));
            if found.len() == before {
                return Err(self.no_such_stage(name));
            }
        }
        Ok(found)
    }
}

fn keep(mask: &mut [bool], also: &[bool]) {
    for (kept, also) in mask.iter_mut().zip(also) {
        *kept &= also;
    }
}
