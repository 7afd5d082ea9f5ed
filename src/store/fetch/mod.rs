//! Models and files from a hub: pinned to a commit or a digest, fetched once,
//! checked, kept.
//!
//! A branch or tag is resolved to a commit the first time and written to a
//! lock file beside the experiment, with the digest of every file; from then
//! on the experiment means those bytes. Only the files that matter are
//! fetched: configuration, tokenizer and safetensors weights.

mod api;
mod download;
mod lockfile;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

pub use lockfile::{ModelLock, PinnedModel};

use super::durable::make_dir;
use super::{Lock, ManifestEntry, Store, StoreError};
use crate::config::HubFile;
use crate::digest::Digest;
use crate::event::RunEvent;
use api::{Api, RemoteFile};

/// The public model hub.
pub const HUB: &str = "https://huggingface.co";

/// Where and how models are fetched.
#[derive(Clone, Default)]
pub struct Hub {
    /// Base URL; [`HUB`] if absent.
    pub endpoint: Option<String>,
    /// Sent to that host alone.
    pub token: Option<String>,
    /// Fetch nothing.
    pub offline: bool,
}

/// A model of a hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubModel {
    /// `org/name`.
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl std::fmt::Display for HubModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hf:{}@{}", self.repo, self.revision)
    }
}

/// Who is told of a fetch, and what stops it.
pub struct FetchWatch<'a> {
    /// Takes progress.
    pub event: &'a dyn Fn(&RunEvent),
    /// Set to stop.
    pub cancel: &'a AtomicBool,
}

impl Store {
    /// Where a pinned model's files lie once they are fetched.
    pub fn hub_dir(&self, model: &HubModel, pinned: &PinnedModel) -> PathBuf {
        let name = model.repo.replace('/', "--");
        self.root.join("hub").join(name).join(&pinned.commit)
    }

    /// Resolves a model to a commit. Files whose digest the hub does not tell,
    /// which are the small ones, are fetched for it.
    pub fn pin(
        &self,
        hub: &Hub,
        model: &HubModel,
        watch: &FetchWatch<'_>,
    ) -> Result<PinnedModel, StoreError> {
        let api = Api::new(hub, model)?;
        let listing = api.list()?;
        let mut pinned = PinnedModel {
            commit: listing.commit,
            files: Vec::new(),
        };
        let dir = self.hub_dir(model, &pinned);
        let _lock = self.hub_lock(model, watch)?;
        make_dir(&dir)?;
        for file in listing.files {
            let path = dir.join(&file.path);
            let (digest, size) = match file.sha256 {
                Some(digest) => (digest, file.size),
                None => api.download(&pinned.commit, &file, &path, watch)?,
            };
            let path = file.path;
            pinned.files.push(ManifestEntry { path, size, digest });
        }
        pinned.files.sort();
        Ok(pinned)
    }

    /// Fetches what is missing of a pinned model. Files that are there are
    /// kept if their bytes are right.
    pub fn fetch(
        &self,
        hub: &Hub,
        model: &HubModel,
        pinned: &PinnedModel,
        watch: &FetchWatch<'_>,
    ) -> Result<PathBuf, StoreError> {
        let dir = self.hub_dir(model, pinned);
        let right = |entry: &&ManifestEntry| !self.has_file(&dir, entry);
        if pinned.files.iter().find(right).is_none() {
            return Ok(dir);
        }
        let api = Api::new(hub, model)?;
        let _lock = self.hub_lock(model, watch)?;
        make_dir(&dir)?;
        for entry in &pinned.files {
            if self.has_file(&dir, entry) {
                continue;
            }
            let file = RemoteFile {
                path: entry.path.clone(),
                size: entry.size,
                sha256: Some(entry.digest),
            };
            let path = dir.join(&entry.path);
            api.download(&pinned.commit, &file, &path, watch)?;
        }
        Ok(dir)
    }

    /// Where a file of a data set lies once it is fetched. Its name stays, for
    /// messages; what tells it from others is its digest.
    pub fn hub_file(&self, file: &HubFile, digest: &Digest) -> PathBuf {
        let repo = format!("datasets--{}", file.repo.replace('/', "--"));
        let name = file.file.rsplit('/').next().unwrap_or_default();
        let dir = self.root.join("hub").join(repo).join(digest.to_string());
        dir.join(name)
    }

    /// Fetches a file of a data set, unless it is there.
    pub fn fetch_file(
        &self,
        hub: &Hub,
        file: &HubFile,
        digest: &Digest,
        watch: &FetchWatch<'_>,
    ) -> Result<PathBuf, StoreError> {
        let to = self.hub_file(file, digest);
        if self.digest_file(&to).is_ok_and(|found| found == *digest) {
            return Ok(to);
        }
        let model = HubModel {
            repo: format!("datasets/{}", file.repo),
            revision: file.revision.clone(),
        };
        let api = Api::new(hub, &model)?;
        let (commit, remote) = api.find(&file.file)?;
        let _lock = self.hub_lock(&model, watch)?;
        if let Some(dir) = to.parent() {
            make_dir(dir)?;
        }
        // What the hub says of a file it keeps elsewhere saves a download.
        let found = match remote.sha256 {
            Some(other) if other != *digest => other,
            _ => api.download(&commit, &remote, &to, watch)?.0,
        };
        if found == *digest {
            return Ok(to);
        }
        let _ = std::fs::remove_file(&to);
        let problem = format!("the SHA-256 of {} is {found}, not {digest}", file.file);
        Err(api.error(
            problem,
            "another revision may be meant; if this one is, mend `sha256`",
        ))
    }

    fn has_file(&self, dir: &std::path::Path, entry: &ManifestEntry) -> bool {
        self.digest_file(&dir.join(&entry.path))
            .is_ok_and(|digest| digest == entry.digest)
    }

    fn hub_lock(&self, model: &HubModel, watch: &FetchWatch<'_>) -> Result<Lock, StoreError> {
        let name = Digest::of(model.repo.as_bytes());
        let path = self.root.join("locks").join(format!("hub-{name}.lock"));
        let waiting = |_| {
            (watch.event)(&RunEvent::StageWaiting {
                stage: model.to_string(),
                holder: None,
            });
        };
        Lock::exclusive(&path, watch.cancel, &waiting)
    }
}
