//! The lock file beside an experiment: which bytes its hub models are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HubModel;
use crate::digest::Digest;
use crate::store::manifest::is_safe;
use crate::store::{AtPath, Manifest, ManifestEntry, StoreError, read_at_most, replace};

const VERSION: u32 = 1;
/// Largest lock file read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// A model pinned to a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedModel {
    /// The commit.
    pub commit: String,
    /// Its files, sorted by path.
    pub files: Vec<ManifestEntry>,
}

impl PinnedModel {
    /// The digest of the model's directory, known before it is fetched.
    pub fn digest(&self) -> Digest {
        Manifest::new(self.files.clone()).digest()
    }

    fn is_safe(&self) -> bool {
        let commit = !self.commit.is_empty() && self.commit.bytes().all(|b| b.is_ascii_hexdigit());
        commit && self.files.iter().all(|file| is_safe(&file.path))
    }
}

/// The pinned models of an experiment: `NAME.moreline-lock` beside it. It
/// belongs in version control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLock {
    path: PathBuf,
    models: BTreeMap<String, PinnedModel>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    version: u32,
    models: BTreeMap<String, PinnedModel>,
}

impl ModelLock {
    /// Reads the lock file of an experiment; empty if there is none.
    pub fn of(experiment: &Path) -> Result<Self, StoreError> {
        Self::read(experiment.with_extension("moreline-lock"))
    }

    fn read(path: PathBuf) -> Result<Self, StoreError> {
        let bytes = match read_at_most(&path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let models = BTreeMap::new();
                return Ok(Self { path, models });
            }
            Err(error) => return Err(error).at("read", &path),
        };
        let file = serde_json::from_slice::<LockFile>(&bytes)
            .map_err(|error| error.to_string())
            .and_then(|file| match file.version == VERSION {
                true if file.models.values().all(PinnedModel::is_safe) => Ok(file),
                true => Err("it names a file outside the model's directory".into()),
                false => Err(format!("its version is {}, not {VERSION}", file.version)),
            });
        match file {
            Ok(file) => Ok(Self {
                path,
                models: file.models,
            }),
            Err(problem) => Err(StoreError::Fetch {
                what: format!("the models pinned in {}", path.display()),
                problem,
                hint: "restore the file, or remove it to pin the models anew".into(),
            }),
        }
    }

    /// What a model is pinned to.
    pub fn get(&self, model: &HubModel) -> Option<&PinnedModel> {
        self.models.get(&model.to_string())
    }

    /// Pins a model and writes the file. What other runs pinned since it was
    /// read stays, of this model too: both then compute with the same bytes.
    pub fn pin(&mut self, model: &HubModel, pinned: PinnedModel) -> Result<(), StoreError> {
        let _turn = self.turn()?;
        let there = Self::read(self.path.clone())?;
        self.models.extend(there.models);
        self.models.entry(model.to_string()).or_insert(pinned);
        let file = LockFile {
            version: VERSION,
            models: self.models.clone(),
        };
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        replace(&self.path, &bytes, true)
    }

    /// A lock on the file's directory, held until it is dropped: the file itself
    /// is replaced, and one more beside the experiment would be in the way.
    fn turn(&self) -> Result<File, StoreError> {
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let dir_file = File::open(dir).at("open", dir)?;
        dir_file.lock().at("lock", dir)?;
        Ok(dir_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(commit: &str) -> PinnedModel {
        PinnedModel {
            commit: commit.into(),
            files: Vec::new(),
        }
    }

    #[test]
    fn runs_that_pin_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let experiment = dir.path().join("e.toml");
        let model = |name: &str| HubModel {
            repo: format!("org/{name}"),
            revision: "main".into(),
        };
        let threads: Vec<_> = (0..16)
            .map(|number| {
                let mut lock = ModelLock::of(&experiment).unwrap();
                let (own, shared) = (model(&format!("m{number}")), model("shared"));
                std::thread::spawn(move || {
                    lock.pin(&own, pinned(&format!("{number:x}"))).unwrap();
                    lock.pin(&shared, pinned(&format!("{number:x}"))).unwrap();
                    lock.get(&shared).unwrap().commit.clone()
                })
            })
            .collect();
        let shared: Vec<String> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        let found = ModelLock::of(&experiment).unwrap();
        for number in 0..16 {
            let own = found.get(&model(&format!("m{number}"))).unwrap();
            assert_eq!(own.commit, format!("{number:x}"));
        }
        let first = &found.get(&model("shared")).unwrap().commit;
        assert!(shared.iter().all(|commit| commit == first), "{shared:?}");
    }
}
