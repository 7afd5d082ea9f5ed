//! What every stage of a run shares.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use moreline_protocol::job::Resources;

use super::RunOptions;
use super::journal::Journal;
use super::provenance::git_state;
use super::resident::Resident;
use super::session::Session;
use super::sources::Source;
use crate::config::Site;
use crate::event::RunEvent;
use crate::store::{Attempts, GitState, Layers};

/// The device that has no memory of its own.
const CPU: &str = "cpu";

/// What every stage of a run shares.
pub(super) struct Context<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) sources: HashMap<String, Source>,
    pub(super) site: &'a Site,
    pub(super) options: &'a RunOptions<'a>,
    pub(super) journal: &'a Journal<'a>,
    /// Set before the first stage runs.
    pub(super) attempts: OnceLock<Attempts>,
    git: OnceLock<Option<GitState>>,
    /// Opened when they are first asked.
    pub(super) layers: OnceLock<Layers>,
    /// What workers hold.
    pub(super) resident: Resident,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        sources: HashMap<String, Source>,
        site: &'a Site,
        options: &'a RunOptions<'a>,
        journal: &'a Journal<'a>,
    ) -> Self {
        Self {
            session,
            sources,
            site,
            options,
            journal,
            attempts: OnceLock::new(),
            git: OnceLock::new(),
            layers: OnceLock::new(),
            resident: Resident::default(),
        }
    }

    /// True once the run should stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.options.cancel.load(Ordering::Relaxed)
    }

    pub(super) fn event(&self, event: &RunEvent) {
        self.journal.event(event);
    }

    /// The state of the experiment's repository, looked up once.
    pub(super) fn git(&self) -> Option<GitState> {
        let path = &self.session.graph.experiment().path;
        self.git.get_or_init(|| git_state(path)).clone()
    }

    /// Keeps the digests of the rows of all data, so that `diff` can tell which
    /// rows changed when the files have. Nothing depends on it.
    pub(super) fn remember_rows(&self) {
        let experiment = self.session.graph.experiment();
        let names = experiment.data.keys().chain(experiment.prompts.keys());
        let names = names.chain(experiment.responses.keys());
        for name in names {
            if let Some(Source::Ready(source)) = self.sources.get(name) {
                let (store, go_on) = (&self.session.store, || !self.is_stopped());
                let _ = store.remember_rows(&source.path, &source.digest, &go_on);
            }
        }
    }

    /// The devices stages may use; never none.
    pub(super) fn devices(&self) -> Vec<String> {
        if self.site.devices.is_empty() {
            return vec![CPU.into()];
        }
        self.site.devices.clone()
    }

    /// What the machine gives to a stage on a device.
    pub(super) fn resources(&self, device: &str) -> Resources {
        let default = Resources::on(device);
        Resources {
            threads: self.site.threads,
            token_budget: self.site.token_budget.unwrap_or(default.token_budget),
            ..default
        }
    }

    /// What workers on the CPU may hold together, in MB.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.site.limits.memory_mb.map(u64::from)
    }
}

/// True for the device that has no memory of its own.
pub(super) fn is_cpu(device: &str) -> bool {
    device == CPU
}
