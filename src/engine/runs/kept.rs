//! Which runs are kept, and which results for their sake.

use std::collections::HashSet;

use super::Runs;
use super::file::RunFile;
use super::past::PastRun;
use crate::plan::StageKey;
use crate::store::{ActionRecord, Store, StoreError};

/// Removes the records of all runs but the newest `kept`, and of those that go
/// on; returns what went.
pub(in crate::engine) fn prune(store: &Store, kept: usize) -> Result<Vec<String>, StoreError> {
    let gone = prunable(store, kept)?;
    let runs = Runs::new(store);
    gone.iter().try_for_each(|id| runs.remove_one(id))?;
    Ok(gone)
}

/// The runs that [`prune`] removes.
pub(in crate::engine) fn prunable(store: &Store, kept: usize) -> Result<Vec<String>, StoreError> {
    let runs = Runs::new(store);
    let old = runs.ids()?.into_iter().skip(kept);
    let is_over =
        |id: &String| !RunFile::peek(&runs.dir().join(id)).is_some_and(|file| file.goes_on());
    Ok(old.filter(is_over).collect())
}

/// Keys of the stages that the newest runs computed or found. Those of a run that
/// was killed are in its events; what it committed last may not be, but names the
/// run itself.
pub(in crate::engine) fn used_by_newest(
    store: &Store,
    newest: usize,
) -> Result<HashSet<StageKey>, StoreError> {
    let runs = Runs::new(store);
    let ids: HashSet<String> = runs.ids()?.into_iter().take(newest).collect();
    let read = |id: &String| PastRun::read(&runs.dir().join(id), id).ok();
    let stages = ids.iter().filter_map(read).flat_map(|run| run.stages);
    let mut keys: HashSet<StageKey> = stages.filter_map(|stage| stage.key).collect();
    let computed = |record: &ActionRecord| ids.contains(&record.provenance.run);
    let records = store.records()?.into_iter().filter(computed);
    keys.extend(records.map(|record| record.key));
    Ok(keys)
}
