//! Models of a hub: pinned before planning, fetched before anything runs.

use std::collections::HashMap;

use super::journal::Journal;
use super::session::Session;
use super::sources::Source;
use super::{Environment, RunOptions};
use crate::store::{FetchWatch, Hub, StoreError};

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

/// Fetches what is missing of the pinned models.
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
    }
    Ok(())
}

fn hub(environment: &Environment) -> Hub {
    Hub {
        endpoint: environment.hf_endpoint.clone(),
        token: environment.hf_token.clone(),
        offline: environment.offline,
    }
}
