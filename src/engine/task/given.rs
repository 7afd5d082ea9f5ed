//! What a stage gave: which files count, and how they differ from before.

use std::path::Path;

use moreline_protocol::artifact::{OutputName, outputs};
use moreline_protocol::event::Level;

use super::Task;
use crate::event::RunEvent;
use crate::store::{ActionRecord, RecordedOutput};

impl Task<'_> {
    /// Says which outputs a forced stage gave otherwise than before.
    pub(super) fn compare(&self, earlier: &ActionRecord, now: &ActionRecord) {
        let other = |(name, output): &(&String, &RecordedOutput)| {
            earlier
                .outputs
                .get(*name)
                .is_none_or(|before| before.digest != output.digest)
        };
        let names: Vec<_> = now
            .outputs
            .iter()
            .filter(other)
            .map(|(name, _)| &**name)
            .collect();
        if names.is_empty() {
            return;
        }
        self.context.event(&RunEvent::Log {
            stage: self.stage.name.clone(),
            level: Level::Warn,
            message: format!(
                "made anew, it gave other bytes than before in {}; the new ones are kept",
                names.join(", ")
            ),
        });
    }

    /// The outputs a finished stage has to give, and the intermediate models
    /// it gives as well.
    pub(super) fn given(&self, dir: &Path) -> Vec<String> {
        let declared = outputs(&self.stage.spec).iter();
        let mut given: Vec<String> = declared.map(|output| output.name.to_owned()).collect();
        if let Some((every, _)) = self.stage.spec.saves() {
            given.extend(entries(dir).filter(|name| {
                matches!(OutputName::parse_step(name),
                    Some(OutputName::Step(step)) if step.is_multiple_of(every))
            }));
        }
        given
    }

    pub(super) fn name_leftovers(&self, dir: &Path, given: &[String]) {
        let names: Vec<_> = entries(dir).filter(|name| !given.contains(name)).collect();
        if !names.is_empty() {
            self.context.event(&RunEvent::Log {
                stage: self.stage.name.clone(),
                level: Level::Warn,
                message: format!(
                    "not kept, for no output has that name: {}",
                    names.join(", ")
                ),
            });
        }
    }
}

/// The names in a directory.
fn entries(dir: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.file_name().display().to_string()))
}
