//! Layers: caches beyond this machine's, in a shared folder or a bucket.
//!
//! A layer holds what a store's `objects/` and `actions/` hold, under the same
//! names. What this machine lacks is fetched from the first layer that has it;
//! what it computes is given to those that may be written. Nothing of a layer is
//! trusted: every byte is checked against its digest before it becomes
//! visible, every size is bounded, and whatever goes wrong is a warning, after
//! which the stage is computed.
//!
//! A record says what a key stands for, and only its writer knows whether that is
//! true: give write access to those whose results you would use.

mod fetch;
mod give;
mod open;
mod problem;
mod remote;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use moreline_protocol::event::Level;

use super::fetch::FetchWatch;
use crate::config::{CacheLayer, LayerMode};
use crate::digest::Digest;
use crate::event::RunEvent;
use crate::plan::StageKey;
use crate::redact;
use problem::LayerProblem;
use remote::Remote;

pub use fetch::Sought;

/// Largest record read from a layer, in bytes: parsed it takes many times that.
const MAX_RECORD: u64 = 16 << 20;
/// Most bytes of the lists of files of one result.
const MAX_LISTS: u64 = 64 << 20;

/// Values of the environment variables that the site's layers name. They show
/// themselves to nobody but the layers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LayerSecrets(BTreeMap<String, String>);

impl LayerSecrets {
    /// Looks up the variables that layers name.
    pub fn of(layers: &[CacheLayer], lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let names = layers.iter().flat_map(CacheLayer::variables);
        let found = names.filter_map(|name| Some((name.to_owned(), lookup(name)?)));
        Self(
            found
                .filter(|(_, value)| !value.trim().is_empty())
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for LayerSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The layers of a site, in the order in which they are asked.
pub struct Layers {
    layers: Vec<Layer>,
}

/// One layer.
struct Layer {
    /// What messages call it: its URL.
    name: String,
    writable: bool,
    remote: Remote,
    /// It did not answer in time once; it is not asked again by this process.
    down: AtomicBool,
    /// What was found damaged in it, to be overwritten by what is whole.
    broken: Mutex<HashSet<String>>,
}

impl Layers {
    /// Opens the layers; asks none of them anything. Those that cannot be
    /// opened are left out, and `warn` is told why.
    pub fn open(configured: &[CacheLayer], secrets: &LayerSecrets, warn: &dyn Fn(String)) -> Self {
        let mut layers = Vec::new();
        for layer in configured {
            match open::open(layer, secrets) {
                Ok(remote) => layers.push(Layer {
                    name: redact::url(&layer.url),
                    writable: layer.mode == LayerMode::ReadWrite,
                    remote,
                    down: AtomicBool::new(false),
                    broken: Mutex::default(),
                }),
                Err(problem) => warn(format!(
                    "the cache layer {} is left out: {problem}",
                    redact::url(&layer.url)
                )),
            }
        }
        Self { layers }
    }

    /// The layers that answered so far.
    fn alive(&self) -> impl Iterator<Item = &Layer> {
        let layers = self.layers.iter();
        layers.filter(|layer| !layer.down.load(Ordering::Relaxed))
    }
}

impl Layer {
    fn is_broken(&self, name: &str) -> bool {
        self.broken().contains(name)
    }

    fn set_broken(&self, name: String) {
        self.broken().insert(name);
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a problem, and stops asking a layer that cannot be reached.
    fn tell(&self, problem: &LayerProblem, stage: &str, watch: &FetchWatch<'_>) {
        let after = match problem {
            LayerProblem::Unreachable(_) => {
                self.down.store(true, Ordering::Relaxed);
                "; this run goes on without it"
            }
            _ => "",
        };
        let name = &self.name;
        warn(
            stage,
            format!("cache layer {name}: {problem}{after}"),
            watch,
        );
    }
}

fn warn(stage: &str, message: String, watch: &FetchWatch<'_>) {
    (watch.event)(&RunEvent::Log {
        stage: stage.to_owned(),
        level: Level::Warn,
        message,
    });
}

/// Where a layer keeps a record.
fn record_name(key: &StageKey) -> String {
    format!("actions/{key}.json")
}

/// Where a layer keeps an object.
fn object_name(digest: &Digest) -> String {
    let name = digest.to_string();
    format!("objects/{}/{}", &name[..2], &name[2..])
}
