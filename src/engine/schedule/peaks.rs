//! How much memory stages are expected to hold at their peak, by what earlier
//! results say.

use std::collections::HashMap;

use moreline_protocol::spec::StageKind;

use crate::config::StageDecl;
use crate::engine::context::is_cpu;
use crate::engine::explain::common_fields;
use crate::engine::resolve::past;
use crate::engine::session::Session;
use crate::plan::StageVersion;
use crate::store::ActionRecord;

/// The name of the figure among a worker's timings.
const PEAK: &str = "peak_memory_mb";

/// The peaks that an experiment's results tell of, in MB.
#[derive(Default)]
pub(super) struct Peaks {
    /// The experiment's results that tell, by the stage's name.
    past: HashMap<String, Vec<ActionRecord>>,
    /// The largest of each kind.
    largest: HashMap<StageKind, u64>,
    /// What was found for stages of this run, by index.
    found: HashMap<usize, Option<u64>>,
}

impl Peaks {
    /// Reads every result of the cache; a cache that cannot be read tells
    /// nothing.
    pub(super) fn read(session: &Session<'_>) -> Self {
        let path = session.graph.experiment().path.display().to_string();
        let records = session.store.records().unwrap_or_default();
        let own = records.into_iter();
        let own = own.filter(|record| record.provenance.experiment == path);
        let mut peaks = Self::default();
        for record in own {
            peaks.learn(&record);
            if of(&record).is_some() {
                let stage = record.stage.clone();
                peaks.past.entry(stage).or_default().push(record);
            }
        }
        peaks
    }

    /// Takes note of a result of this run: the next stage of its kind may need
    /// as much.
    pub(super) fn learn(&mut self, record: &ActionRecord) {
        if let Some(peak) = of(record) {
            let largest = self.largest.entry(record.kind).or_default();
            *largest = peak.max(*largest);
        }
    }

    /// What a stage is expected to hold: as much as the stage of that name did
    /// when it was most like this, else the most that one of its kind did.
    pub(super) fn expected(
        &mut self,
        index: usize,
        stage: &StageDecl,
        present: impl Fn() -> StageVersion,
    ) -> Option<u64> {
        let past = &self.past;
        let found = self.found.entry(index).or_insert_with(|| {
            let records = past.get(&stage.name)?;
            nearest(records, &present())
        });
        found.or_else(|| self.largest.get(&stage.spec.kind()).copied())
    }
}

/// The peak of the result that has most in common with a stage, the newest of
/// those. A rehearsal has less in common with a real run than another one.
fn nearest(records: &[ActionRecord], present: &StageVersion) -> Option<u64> {
    let rated = records.iter().filter_map(|record| {
        let common = common_fields(present, &past(record))?;
        Some((common, &record.provenance.finished, of(record)?))
    });
    rated.max().map(|(_, _, peak)| peak)
}

/// The peak a result tells of, if it was computed on a CPU: elsewhere the
/// tensors are in the device's own memory.
fn of(record: &ActionRecord) -> Option<u64> {
    let resources = record.provenance.resources.as_ref()?;
    let peak = *record.provenance.timings.get(PEAK)?;
    let tells = is_cpu(&resources.device) && peak.is_finite() && peak > 0.0;
    tells.then(|| peak.ceil() as u64)
}
