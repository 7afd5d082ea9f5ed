//! Which stage of one side is which of the other.

use std::collections::HashMap;
use std::sync::Arc;

use super::FoundBy;
use super::side::{Side, SideStage};
use crate::plan::{Change, InputVersion};

/// The partner of a stage of the second side.
pub(super) struct Partner {
    /// Its index on the first side.
    pub(super) index: usize,
    /// By what it was found.
    pub(super) found: FoundBy,
    /// New names of renamed stages, to their old ones.
    renamed: Arc<HashMap<String, String>>,
}

impl Partner {
    /// True if the change is that an input comes from a stage that was renamed,
    /// and nothing else is known of it.
    pub(super) fn is_rename(&self, change: &Change) -> bool {
        match change {
            Change::Input {
                old: Some(old),
                new: Some(new),
                ..
            } => {
                let unknown = old.digest.is_none() && new.digest.is_none();
                unknown && old.rows == new.rows && !new.named && renames(&self.renamed, old, new)
            }
            _ => false,
        }
    }
}

fn renames(renamed: &HashMap<String, String>, old: &InputVersion, new: &InputVersion) -> bool {
    let stages = new.stage.as_ref().zip(old.stage.as_ref());
    stages.is_some_and(|(new, old)| renamed.get(new) == Some(old))
}

/// Pairs the stages by name, then by key, then by content; an answer for each
/// stage of the second side.
pub(super) fn pair(a: &Side, b: &Side) -> Vec<Option<Partner>> {
    let mut found: Vec<Option<(usize, FoundBy)>> = vec![None; b.stages.len()];
    let mut taken = vec![false; a.stages.len()];
    let mut renamed = HashMap::new();
    for (by, way) in [
        (by_name as Rule, FoundBy::Name),
        (by_key, FoundBy::Key),
        (by_content, FoundBy::Content),
    ] {
        for (place, stage) in b.stages.iter().enumerate() {
            if found[place].is_some() {
                continue;
            }
            let fits = |index: &usize| !taken[*index] && by(&a.stages[*index], stage, &renamed);
            if let Some(index) = (0..a.stages.len()).find(fits) {
                found[place] = Some((index, way));
                taken[index] = true;
                renamed.insert(stage.name.clone(), a.stages[index].name.clone());
            }
        }
    }
    let renamed = Arc::new(renamed);
    let partner = |found: Option<(usize, FoundBy)>| {
        found.map(|(index, found)| Partner {
            index,
            found,
            renamed: Arc::clone(&renamed),
        })
    };
    found.into_iter().map(partner).collect()
}

/// Whether two stages are one, given which were found to be.
type Rule = fn(&SideStage, &SideStage, &HashMap<String, String>) -> bool;

fn by_name(a: &SideStage, b: &SideStage, _: &HashMap<String, String>) -> bool {
    a.name == b.name
}

fn by_key(a: &SideStage, b: &SideStage, _: &HashMap<String, String>) -> bool {
    a.key.is_some() && a.key == b.key
}

/// The same kind and settings, and inputs that are the same, or come from stages
/// that are.
fn by_content(a: &SideStage, b: &SideStage, renamed: &HashMap<String, String>) -> bool {
    let same = |change: &Change| match change {
        Change::Input {
            old: Some(old),
            new: Some(new),
            ..
        } => renames(renamed, old, new),
        change => !change.is_keyed(),
    };
    a.version.kind == b.version.kind && changes(a, b).iter().all(same)
}

/// The fields that differ. What is not known any more of the first side counts
/// as the same; with one key, all that is keyed does.
pub(super) fn changes(old: &SideStage, new: &SideStage) -> Vec<Change> {
    let one_key = old.key.is_some() && old.key == new.key;
    let forgotten = |change: &Change| match change {
        Change::Input {
            old: Some(old),
            new: Some(new),
            ..
        } => old.digest.is_none() && old.name == new.name && old.rows == new.rows,
        _ => false,
    };
    let mut changes = new.version.changes_since(&old.version);
    changes.retain(|change| !(forgotten(change) || (one_key && change.is_keyed())));
    changes
}
