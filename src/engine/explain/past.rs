//! Finding the earlier result that a stage is nearest to.

use std::cell::OnceCell;

use super::super::resolve::past;
use super::super::session::{Seen, Session};
use super::{EngineError, Found};
use crate::digest::Digest;
use crate::plan::StageVersion;
use crate::store::ActionRecord;

/// Every result of a store, read once it is needed.
pub(super) struct Archive<'a> {
    pub(super) session: &'a Session<'a>,
    records: OnceCell<Vec<ActionRecord>>,
}

impl<'a> Archive<'a> {
    pub(super) fn new(session: &'a Session<'a>) -> Self {
        Self {
            session,
            records: OnceCell::new(),
        }
    }

    fn records(&self) -> Result<&[ActionRecord], EngineError> {
        if self.records.get().is_none() {
            let _ = self.records.set(self.session.store.records()?);
        }
        Ok(self.records.get().map_or(&[], Vec::as_slice))
    }

    /// The earlier result to compare a stage with: what gave the bytes that
    /// were taken, else the stage's own, else its last by name, else the one
    /// that has most in common with it.
    pub(super) fn nearest(
        &self,
        name: &str,
        seen: &Seen,
        gave: Option<Digest>,
    ) -> Result<Option<(ActionRecord, Found)>, EngineError> {
        if let Some(digest) = gave
            && let Some(record) = self.that_gave(name, &digest)?
        {
            return Ok(Some((record, Found::Output)));
        }
        if let Some(record) = &seen.record {
            return Ok(Some(((**record).clone(), Found::Own)));
        }
        if let Some(key) = self.session.latest.get(name)
            && let Some(record) = self.session.store.record(key)?
        {
            return Ok(Some((record, Found::Name)));
        }
        if let Some(record) = self.last_of(name, seen)? {
            return Ok(Some((record, Found::Name)));
        }
        Ok(self.likest(seen)?.map(|record| (record, Found::Likeness)))
    }

    fn that_gave(&self, name: &str, digest: &Digest) -> Result<Option<ActionRecord>, EngineError> {
        let records = self.records()?.iter();
        let gave = records.filter(|r| r.outputs.values().any(|output| output.digest == *digest));
        let best = gave.max_by_key(|record| (record.stage == name, &record.provenance.finished));
        Ok(best.cloned())
    }

    fn last_of(&self, name: &str, seen: &Seen) -> Result<Option<ActionRecord>, EngineError> {
        let path = &self.session.graph.experiment().path;
        let path = path.display().to_string();
        let same = |record: &&ActionRecord| {
            record.stage == name
                && record.kind == seen.present.kind
                && record.provenance.experiment == path
        };
        let records = self.records()?.iter().filter(same);
        Ok(records
            .max_by_key(|record| &record.provenance.finished)
            .cloned())
    }

    fn likest(&self, seen: &Seen) -> Result<Option<ActionRecord>, EngineError> {
        let records = self.records()?.iter();
        let rated = records.filter_map(|record| {
            let common = common_fields(&seen.present, &past(record))?;
            Some(((common, record.provenance.finished.as_str()), record))
        });
        let best = rated.max_by_key(|(rating, _)| *rating);
        Ok(best.map(|(_, record)| record.clone()))
    }
}

/// How many fields are the same; nothing if fewer than half are.
pub(in crate::engine) fn common_fields(now: &StageVersion, past: &StageVersion) -> Option<usize> {
    if now.kind != past.kind {
        return None;
    }
    let fields = now.fields().len();
    let common = fields.saturating_sub(now.changes_since(past).len());
    (common > 0 && common * 2 >= fields).then_some(common)
}
