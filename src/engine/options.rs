//! What a caller of the engine decides.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::runner::StageRunner;
use super::selection::Selection;
use crate::event::RunEvent;
use crate::redact;
use crate::store::LayerSecrets;

/// Settings the command line takes from the process's environment.
#[derive(Clone, Default)]
pub struct Environment {
    /// Token for the model hub, sent to it alone (`HF_TOKEN`).
    pub hf_token: Option<String>,
    /// Base URL of the model hub, if not the public one (`HF_ENDPOINT`).
    pub hf_endpoint: Option<String>,
    /// Fetch nothing; use what is cached.
    pub offline: bool,
    /// Credentials of the site's cache layers.
    pub layer_secrets: LayerSecrets,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("hf_token", &self.hf_token.as_ref().map(|_| "(set)"))
            .field("hf_endpoint", &self.hf_endpoint.as_deref().map(redact::url))
            .field("offline", &self.offline)
            .field("layer_secrets", &self.layer_secrets)
            .finish()
    }
}

/// How to run.
pub struct RunOptions<'a> {
    /// Stages at once; as many as there are devices and cores if absent.
    pub jobs: Option<usize>,
    /// Which stages to run, and which to run in any case.
    pub selection: Selection,
    /// After a failure start nothing new; what is running goes on to its end.
    pub fail_fast: bool,
    /// Set to stop: workers are killed, nothing half done is committed.
    pub cancel: Arc<AtomicBool>,
    /// What comes from the process's environment.
    pub environment: Environment,
    /// Runs the stages that need no worker, and checks inputs.
    pub runner: &'a dyn StageRunner,
    /// The worker program if the site names none.
    pub worker: PathBuf,
}

/// Watches a run. Called from several threads, one event at a time per stage.
pub trait Observer: Sync {
    /// Takes the next event.
    fn event(&self, event: &RunEvent);
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &RunEvent) {}
}
