//! Results from and to the site's cache layers.

use std::sync::atomic::AtomicBool;

use moreline_protocol::artifact::outputs;
use moreline_protocol::event::Level;

use super::context::Context;
use super::{Environment, Observer};
use crate::config::{Site, StageDecl};
use crate::event::RunEvent;
use crate::plan::StageKey;
use crate::store::{ActionRecord, FetchWatch, Layers, Sought, StoreError};

/// What messages about layers are filed under when they are no stage's.
const LAYERS: &str = "cache layers";

impl Context<'_> {
    /// A stage's result, if a layer has it; it is in the store then. Asks no
    /// layer and writes nothing if the site has none.
    pub(super) fn fetch_result(
        &self,
        key: &StageKey,
        stage: &StageDecl,
    ) -> Result<Option<Box<ActionRecord>>, StoreError> {
        let (Some(attempts), false) = (self.attempts.get(), self.site.cache_layers.is_empty())
        else {
            return Ok(None);
        };
        let store = &self.session.store;
        let scratch = attempts.create(key)?;
        let sought = Sought {
            key,
            stage: &stage.name,
            outputs: &declared(stage),
            scratch: scratch.dir(),
        };
        let event = |event: &RunEvent| self.event(event);
        let found = store.fetch_result(self.open_layers(), &sought, &self.watch(&event))?;
        if found.is_some() {
            store.remove_partial(key)?;
        }
        Ok(found)
    }

    /// Gives a committed result to the layers that may be written. If the run is
    /// stopped meanwhile, it is committed here all the same.
    pub(super) fn give_result(&self, record: &ActionRecord) {
        if self.site.cache_layers.is_empty() {
            return;
        }
        let event = |event: &RunEvent| self.event(event);
        let watch = self.watch(&event);
        let _ = self
            .session
            .store
            .give_result(self.open_layers(), record, &watch);
    }

    fn watch<'a>(&'a self, event: &'a dyn Fn(&RunEvent)) -> FetchWatch<'a> {
        FetchWatch {
            event,
            cancel: &self.options.cancel,
        }
    }

    fn open_layers(&self) -> &Layers {
        let event = |event: &RunEvent| self.event(event);
        let open = || open(self.site, &self.options.environment, &event);
        self.layers.get_or_init(open)
    }
}

fn open(site: &Site, environment: &Environment, event: &dyn Fn(&RunEvent)) -> Layers {
    let warn = |message| {
        event(&RunEvent::Log {
            stage: LAYERS.into(),
            level: Level::Warn,
            message,
        });
    };
    Layers::open(&site.cache_layers, &environment.layer_secrets, &warn)
}

/// Names of the outputs that a finished stage has in any case.
fn declared(stage: &StageDecl) -> Vec<&'static str> {
    let declared = outputs(&stage.spec).iter();
    declared.map(|output| output.name).collect()
}

/// The site's layers, for commands that only ask what is there.
pub struct Remote<'a> {
    layers: Layers,
    observer: &'a dyn Observer,
}

impl<'a> Remote<'a> {
    /// Opens a site's layers; asks none of them anything. `observer` is told of
    /// those that do not answer.
    pub fn open(site: &Site, environment: &Environment, observer: &'a dyn Observer) -> Self {
        let layers = open(site, environment, &|event| observer.event(event));
        Self { layers, observer }
    }

    /// A stage's record, and the layer that has it.
    pub(super) fn find(&self, key: &StageKey, stage: &StageDecl) -> Option<(ActionRecord, String)> {
        let sought = Sought {
            key,
            stage: &stage.name,
            outputs: &declared(stage),
            scratch: std::path::Path::new(""),
        };
        let watch = FetchWatch {
            event: &|event| self.observer.event(event),
            cancel: &AtomicBool::new(false),
        };
        self.layers.peek(&sought, &watch)
    }
}
