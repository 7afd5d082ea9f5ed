//! The files an experiment starts from: where they are and what they hold.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::config::ModelSource;
use crate::digest::Digest;
use crate::plan::{Dependency, Graph};
use crate::store::{FileStat, HubModel, Manifest, ManifestEntry, ModelLock, Store, StoreError};

/// Files of a model directory that can change what a worker computes.
const MODEL_FILES: [&str; 5] = ["json", "safetensors", "jinja", "txt", "model"];
/// Hashing runs at most on this many threads.
const THREADS: usize = 8;

/// What became of looking for one source.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// It is there.
    Ready(ReadySource),
    /// It is not, or cannot be read: why, with its path.
    Missing(String),
    /// A model of a hub that is not pinned to a commit yet.
    Unpinned(HubModel),
}

/// A source whose bytes are known.
#[derive(Debug, Clone)]
pub(super) struct ReadySource {
    /// A file, or a model's directory.
    pub(super) path: PathBuf,
    /// Digest of the file, or of the directory's manifest.
    pub(super) digest: Digest,
    /// The model it is of a hub's; its files may still have to be fetched.
    pub(super) hub: Option<HubModel>,
    /// What its files looked like when they were hashed.
    files: Vec<(PathBuf, FileStat)>,
}

impl ReadySource {
    /// A source as a run found it once.
    pub(super) fn past(path: PathBuf, digest: Digest) -> Self {
        Self {
            path,
            digest,
            hub: None,
            files: Vec::new(),
        }
    }

    /// A file that does not look any more as it did when it was hashed.
    pub(super) fn changed(&self) -> Option<&Path> {
        let changed = |(path, seen): &&(PathBuf, FileStat)| {
            !FileStat::of_path(path).is_ok_and(|now| now == *seen)
        };
        let (path, _) = self.files.iter().find(changed)?;
        Some(path)
    }
}

/// The sources that the wanted stages take, by name in the experiment file.
pub(super) fn find(
    graph: &Graph<'_>,
    wanted: &[bool],
    store: &Store,
    pins: &ModelLock,
) -> HashMap<String, Source> {
    let mut tasks: HashMap<&str, Dependency<'_>> = HashMap::new();
    for &index in graph.order() {
        if wanted[index] {
            let inputs = graph.inputs(index).iter();
            tasks.extend(
                inputs
                    .filter(|input| !matches!(input.from, Dependency::Stage { .. }))
                    .map(|input| (input.name, input.from)),
            );
        }
    }
    let tasks: Vec<_> = tasks.into_iter().collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(HashMap::new());
    let work = || {
        while let Some((name, from)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let source = look(name, from, store, pins);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.insert((*name).to_owned(), source);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    std::thread::scope(|scope| {
        for _ in 1..cores.min(tasks.len()) {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn look(name: &str, from: &Dependency<'_>, store: &Store, pins: &ModelLock) -> Source {
    match from {
        Dependency::Model(ModelSource::Hub { repo, revision }) => {
            let model = HubModel {
                repo: repo.clone(),
                revision: revision.clone(),
            };
            match pins.get(&model) {
                Some(pinned) => Source::Ready(ReadySource {
                    path: store.hub_dir(&model, pinned),
                    digest: pinned.digest(),
                    hub: Some(model),
                    files: Vec::new(),
                }),
                None => Source::Unpinned(model),
            }
        }
        Dependency::Model(ModelSource::Path(path)) => found(name, path, model(name, path, store)),
        Dependency::Rows(path) => found(name, path, file(path, store)),
        Dependency::Stage { .. } => Source::Missing(format!("`{name}`")),
    }
}

fn found(name: &str, path: &Path, result: Result<ReadySource, StoreError>) -> Source {
    match result {
        Ok(source) => Source::Ready(source),
        Err(_) if !path.exists() => {
            Source::Missing(format!("`{name}`: {} does not exist", path.display()))
        }
        Err(error) => Source::Missing(format!("`{name}`: {error}")),
    }
}

fn file(path: &Path, store: &Store) -> Result<ReadySource, StoreError> {
    let (digest, stat) = store.digest_and_stat(path)?;
    Ok(ReadySource {
        path: path.to_owned(),
        digest,
        hub: None,
        files: vec![(path.to_owned(), stat)],
    })
}

fn model(name: &str, path: &Path, store: &Store) -> Result<ReadySource, StoreError> {
    if !path.is_dir() {
        return file(path, store);
    }
    let mut entries = Vec::new();
    let mut files = Vec::new();
    for (name, file) in model_files(path)? {
        let (digest, stat) = store.digest_and_stat(&file)?;
        entries.push(ManifestEntry {
            path: name,
            size: stat.size(),
            digest,
        });
        files.push((file, stat));
    }
    if !entries.iter().any(|entry| entry.path == "config.json") {
        return Err(StoreError::Output {
            name: name.to_owned(),
            problem: format!("{} holds no config.json", path.display()),
        });
    }
    Ok(ReadySource {
        path: path.to_owned(),
        digest: Manifest::new(entries).digest(),
        hub: None,
        files,
    })
}

/// The files of a model directory that count, by name: not its notes, and
/// nothing in subdirectories.
fn model_files(dir: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    use crate::store::AtPath;
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).at("read directory", dir)? {
        let path = entry.at("read directory", dir)?.path();
        let counts = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| MODEL_FILES.contains(&extension));
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name
            && counts
            && !name.starts_with('.')
            && path.is_file()
        {
            files.push((name.to_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}
