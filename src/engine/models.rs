//! Models and files of a hub: models are pinned before planning, both are fetched
//! before anything runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::journal::Journal;
use super::session::Session;
use super::sources::Source;
use super::{Environment, RunOptions};
use crate::config::HubFile;
use crate::digest::Digest;
use crate::store::{FetchWatch, Hub, Store, StoreError};

/// Pins the models that are not; true if there were any.
pub(super) fn pin(
    session: &mut Session<'_>,
    sources: &HashMap<String, Source>,
    options: &RunOptions<'_>,
    journal: &Journal<'_>,
) -> Result<bool, StoreError> {
    let hub = hub(&options.environment);
    let watch = FetchWatch {
        event: &|event| journal.event(event),
        cancel: &options.cancel,
    };
    let mut any = false;
    for source in sources.values() {
        if let Source::Unpinned(model) = source
            && session.pins.get(model).is_none()
        {
            let pinned = session.store.pin(&hub, model, &watch)?;
            session.pins.pin(model, pinned)?;
            any = true;
        }
    }
    Ok(any)
}

/// Fetches what is missing of the pinned models and of the files.
pub(super) fn fetch(
    session: &Session<'_>,
    sources: &HashMap<String, Source>,
    options: &RunOptions<'_>,
    journal: &Journal<'_>,
) -> Result<(), StoreError> {
    let hub = hub(&options.environment);
    let watch = FetchWatch {
        event: &|event| journal.event(event),
        cancel: &options.cancel,
    };
    for source in sources.values() {
        if let Source::Ready(source) = source
            && let Some(model) = &source.hub
            && let Some(pinned) = session.pins.get(model)
        {
            session.store.fetch(&hub, model, pinned, &watch)?;
        }
        if let Source::Ready(source) = source
            && let Some(file) = &source.file
        {
            let digest = &source.digest;
            session.store.fetch_file(&hub, file, digest, &watch)?;
        }
    }
    Ok(())
}

/// Fetches a file of a data set into a store, unless it is there.
pub fn fetch_file(
    store: &Store,
    environment: &Environment,
    file: &HubFile,
    digest: &Digest,
    cancel: &AtomicBool,
) -> Result<PathBuf, StoreError> {
    let watch = FetchWatch {
        event: &|_| {},
        cancel,
    };
    store.fetch_file(&hub(environment), file, digest, &watch)
}

/// Where and how to fetch.
fn hub(environment: &Environment) -> Hub {
    Hub {
        endpoint: environment.hf_endpoint.clone(),
        token: environment.hf_token.clone(),
        offline: environment.offline,
    }
}
