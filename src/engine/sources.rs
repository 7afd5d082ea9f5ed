//! The files an experiment starts from: where they are and what they hold.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{HubFile, ModelSource, RowsDecl};
use crate::digest::Digest;
use crate::plan::{Dependency, Graph};
use crate::store::{
    FileStat, Hashed, HubModel, Manifest, ManifestEntry, ModelLock, Store, StoreError,
};

/// Files of a model directory that can change what a worker computes.
const MODEL_FILES: [&str; 5] = ["json", "safetensors", "jinja", "txt", "model"];

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
    /// The file it is of a hub's, which may still have to be fetched too.
    pub(super) file: Option<HubFile>,
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
            file: None,
            files: Vec::new(),
        }
    }

    /// A file of a hub, whose digest the experiment states.
    fn of_hub(path: PathBuf, digest: Digest, file: &HubFile) -> Self {
        Self {
            file: Some(file.clone()),
            ..Self::past(path, digest)
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
    let listed: Vec<_> = tasks
        .into_iter()
        .map(|(name, from)| (name, from, files(&from)))
        .collect();
    let paths = listed.iter().flat_map(|(.., files)| files.iter().flatten());
    let hashed = store.digest_all(paths.map(|(_, path)| path.clone()).collect());
    listed
        .into_iter()
        .map(|(name, from, files)| {
            let source = look(name, &from, files, &hashed, store, pins);
            (name.to_owned(), source)
        })
        .collect()
}

/// The files of a source by their names in it; those of a hub are known
/// without being read.
fn files(from: &Dependency<'_>) -> Files {
    match from {
        Dependency::Model(ModelSource::Path(path)) if path.is_dir() => model_files(path),
        Dependency::Model(ModelSource::Path(path)) => Ok(vec![(String::new(), path.clone())]),
        Dependency::Rows(RowsDecl { hub: Some(_), .. }) => Ok(Vec::new()),
        Dependency::Rows(rows) => Ok(vec![(String::new(), rows.path.clone())]),
        Dependency::Model(ModelSource::Hub { .. }) | Dependency::Stage { .. } => Ok(Vec::new()),
    }
}

type Files = Result<Vec<(String, PathBuf)>, StoreError>;

fn look(
    name: &str,
    from: &Dependency<'_>,
    files: Files,
    hashed: &HashMap<PathBuf, Hashed>,
    store: &Store,
    pins: &ModelLock,
) -> Source {
    let path = match from {
        Dependency::Model(ModelSource::Hub { repo, revision }) => {
            let model = HubModel {
                repo: repo.clone(),
                revision: revision.clone(),
            };
            return hub(model, store, pins);
        }
        Dependency::Stage { .. } => return Source::Missing(format!("`{name}`")),
        Dependency::Model(ModelSource::Path(path)) => path,
        Dependency::Rows(rows) => {
            if let (Some(file), Some(digest)) = (&rows.hub, rows.sha256) {
                let path = store.hub_file(file, &digest);
                return Source::Ready(ReadySource::of_hub(path, digest, file));
            }
            &rows.path
        }
    };
    let problem = match files {
        Ok(files) => match ready(path, &files, hashed).and_then(|s| expected(s, from)) {
            Ok(source) => return Source::Ready(source),
            Err(problem) => problem,
        },
        Err(error) => error.to_string(),
    };
    match path.exists() {
        false => Source::Missing(format!("`{name}`: {} does not exist", path.display())),
        true => Source::Missing(format!("`{name}`: {problem}")),
    }
}

fn hub(model: HubModel, store: &Store, pins: &ModelLock) -> Source {
    match pins.get(&model) {
        Some(pinned) => Source::Ready(ReadySource {
            path: store.hub_dir(&model, pinned),
            digest: pinned.digest(),
            hub: Some(model),
            file: None,
            files: Vec::new(),
        }),
        None => Source::Unpinned(model),
    }
}

/// A file, or a model's directory, whose files are hashed; else what is wrong.
fn ready(
    path: &Path,
    files: &[(String, PathBuf)],
    hashed: &HashMap<PathBuf, Hashed>,
) -> Result<ReadySource, String> {
    let mut entries = Vec::new();
    let mut seen = Vec::new();
    for (name, file) in files {
        let (digest, stat) = match hashed.get(file) {
            Some(Ok(hashed)) => *hashed,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err(format!("{} was not read", file.display())),
        };
        let (path, size) = (name.clone(), stat.size());
        entries.push(ManifestEntry { path, size, digest });
        seen.push((file.clone(), stat));
    }
    let digest = match entries.as_slice() {
        [only] if only.path.is_empty() => only.digest,
        _ if entries.iter().any(|entry| entry.path == "config.json") => {
            Manifest::new(entries).digest()
        }
        _ => return Err(format!("{} holds no config.json", path.display())),
    };
    Ok(ReadySource {
        path: path.to_owned(),
        digest,
        hub: None,
        file: None,
        files: seen,
    })
}

/// A source, if it is what the experiment says it is.
fn expected(source: ReadySource, from: &Dependency<'_>) -> Result<ReadySource, String> {
    match from {
        Dependency::Rows(RowsDecl {
            sha256: Some(sha256),
            ..
        }) if *sha256 != source.digest => Err(format!(
            "the SHA-256 of {} is {}, not {sha256} as its `sha256` says",
            source.path.display(),
            source.digest
        )),
        _ => Ok(source),
    }
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
