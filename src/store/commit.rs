//! Taking a finished stage's outputs into the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::durable::{entries, replace};
use super::error::{AtPath, StoreError};
use super::manifest::{Manifest, ManifestEntry, is_safe};
use super::{ActionRecord, ObjectForm, RecordedOutput, Store};
use crate::digest::Digest;

/// Deepest directory taken into the store.
pub(super) const MAX_DEPTH: usize = 16;

impl Store {
    /// Moves the outputs of these names of a finished stage from the directory it
    /// wrote them to into the store. They stay invisible until a record names
    /// them. Everything is checked before anything is moved.
    pub fn take_outputs(
        &self,
        dir: &Path,
        names: &[String],
    ) -> Result<BTreeMap<String, RecordedOutput>, StoreError> {
        for name in names {
            check_output(name, &dir.join(name))?;
        }
        let take = |name: &String| Ok((name.clone(), self.take(&dir.join(name))?));
        names.iter().map(take).collect()
    }

    /// Makes a result visible. Its outputs must be in the store already.
    pub fn commit(&self, record: &ActionRecord) -> Result<(), StoreError> {
        replace(&self.record_path(&record.key), &record.to_bytes(), true)
    }

    fn take(&self, path: &Path) -> Result<RecordedOutput, StoreError> {
        if !path.is_dir() {
            let (digest, bytes) = self.put_file(path)?;
            let form = ObjectForm::File;
            return Ok(RecordedOutput {
                form,
                digest,
                bytes,
            });
        }
        let mut files = Vec::new();
        for file in walk(path, 0)? {
            let (digest, size) = self.put_file(&file)?;
            let path = relative(path, &file)?;
            files.push(ManifestEntry { path, size, digest });
        }
        let manifest = Manifest::new(files);
        Ok(RecordedOutput {
            form: ObjectForm::Directory,
            digest: self.put_manifest(&manifest)?,
            bytes: manifest.bytes(),
        })
    }
}

impl Store {
    /// The digest of a directory outside the store, as if it were an output:
    /// that of the manifest of the files `wanted` accepts, by relative path.
    pub fn digest_files(
        &self,
        files: impl IntoIterator<Item = (String, PathBuf)>,
    ) -> Result<Digest, StoreError> {
        let mut entries = Vec::new();
        for (path, file) in files {
            let digest = self.digest_file(&file)?;
            let size = fs::metadata(&file).at("read", &file)?.len();
            entries.push(ManifestEntry { path, size, digest });
        }
        Ok(Manifest::new(entries).digest())
    }
}

fn check_output(name: &str, path: &Path) -> Result<(), StoreError> {
    let problem = |text: &str| StoreError::Output {
        name: name.to_owned(),
        problem: text.to_owned(),
    };
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Err(problem("the stage ended without writing it"));
    };
    if name.contains('.') {
        return match metadata.is_file() {
            true => Ok(()),
            false => Err(problem("it is not a plain file")),
        };
    }
    if !metadata.is_dir() {
        return Err(problem("it is not a directory"));
    }
    let files = walk(path, 0)?;
    if files.is_empty() {
        return Err(problem("the directory is empty"));
    }
    files
        .iter()
        .try_for_each(|file| relative(path, file).map(drop))
}

/// The plain files under a directory; anything else is refused.
fn walk(dir: &Path, depth: usize) -> Result<Vec<PathBuf>, StoreError> {
    let refuse = |path: &Path, problem: &str| StoreError::Output {
        name: path.display().to_string(),
        problem: problem.to_owned(),
    };
    if depth > MAX_DEPTH {
        return Err(refuse(dir, "directories are nested too deeply"));
    }
    let mut files = Vec::new();
    for path in entries(dir)? {
        let kind = fs::symlink_metadata(&path).at("read", &path)?.file_type();
        if kind.is_dir() {
            files.extend(walk(&path, depth + 1)?);
        } else if kind.is_file() {
            files.push(path);
        } else {
            return Err(refuse(&path, "only plain files and directories are taken"));
        }
    }
    Ok(files)
}

fn relative(dir: &Path, file: &Path) -> Result<String, StoreError> {
    let path = file.strip_prefix(dir).ok().and_then(Path::to_str);
    match path {
        Some(path) if is_safe(path) => Ok(path.to_owned()),
        _ => Err(StoreError::Output {
            name: file.display().to_string(),
            problem: "its name is not valid UTF-8".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::durable::order::{Step, take};
    use super::*;
    use crate::plan::StageKey;

    /// A finished stage of a file and a directory, committed; what was made
    /// durable for it, in order.
    fn committed(dir: &Path) -> (Store, Vec<Step>, StageKey) {
        let store = Store::open(dir.join("cache"));
        store.prepare().unwrap();
        let out = dir.join("out");
        fs::create_dir_all(out.join("model/parts")).unwrap();
        for (name, text) in [
            ("rows.jsonl", "rows"),
            ("model/a", "a"),
            ("model/parts/b", "b"),
        ] {
            fs::write(out.join(name), text).unwrap();
        }
        take();
        let names = ["rows.jsonl".to_owned(), "model".to_owned()];
        let outputs = store.take_outputs(&out, &names).unwrap();
        let key = StageKey(Digest::of(b"key"));
        store.commit(&record(key, outputs)).unwrap();
        (store, take(), key)
    }

    fn record(key: StageKey, outputs: BTreeMap<String, RecordedOutput>) -> ActionRecord {
        let value = serde_json::json!({
            "format": super::super::RECORD_FORMAT, "key": key, "stage": "s", "kind": "select",
            "version": 1, "spec": {}, "inputs": [], "outputs": outputs, "metrics": {},
            "provenance": {
                "moreline": "0", "run": "r", "experiment": "e", "git": null, "host": "h",
                "resources": null, "fingerprint": null, "seed": null, "started": "then",
                "finished": "then", "seconds": 0.0, "timings": {},
            },
        });
        serde_json::from_value(value).unwrap()
    }

    /// Where a step was first taken.
    fn place(steps: &[Step], wanted: &Step) -> usize {
        let found = steps.iter().position(|step| step == wanted);
        found.unwrap_or_else(|| panic!("{wanted:?} is not among {steps:#?}"))
    }

    /// Whether a file is on disk under its name before a step: its bytes were
    /// waited for before it got the name, and after that its directory was.
    fn is_durable(steps: &[Step], file: &Path, before: usize) -> bool {
        let named = |step: &Step| matches!(step, Step::Renamed(_, to) if to == file);
        let Some(renamed) = steps.iter().position(named) else {
            return false;
        };
        let Step::Renamed(from, _) = &steps[renamed] else {
            return false;
        };
        let synced = place(steps, &Step::Synced(from.clone()));
        let dir = Step::SyncedDir(file.parent().unwrap().to_owned());
        let listed = steps[renamed..before].contains(&dir);
        synced < renamed && listed
    }

    #[test]
    fn a_record_is_written_after_all_it_names_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (store, steps, key) = committed(dir.path());
        let record = store.record_path(&key);
        let named = |step: &Step| matches!(step, Step::Renamed(_, to) if *to == record);
        let visible = steps.iter().position(named).unwrap();
        let mut objects = 0;
        let committed = store.record(&key).unwrap().unwrap();
        for output in committed.outputs.values() {
            let mut check = |digest: &Digest| {
                objects += 1;
                let path = store.object_path(digest);
                assert!(is_durable(&steps, &path, visible), "{digest}: {steps:#?}");
                let shelf = path.parent().unwrap().to_owned();
                let made = place(&steps, &Step::Made(shelf));
                let listed = Step::SyncedDir(store.root().join("objects"));
                assert!(steps[made..visible].contains(&listed));
                Ok(())
            };
            check(&output.digest).unwrap();
            if output.form == ObjectForm::Directory {
                store.each_file(output, check).unwrap();
            }
        }
        assert_eq!(objects, 4);
        assert!(is_durable(&steps, &record, steps.len()), "{steps:#?}");
    }

    #[test]
    fn a_new_store_is_on_disk_before_anything_is_put_into_it() {
        let dir = tempfile::tempdir().unwrap();
        take();
        let root = dir.path().join("a/b");
        Store::open(&root).prepare().unwrap();
        let steps = take();
        for parent in [dir.path().to_owned(), dir.path().join("a")] {
            place(&steps, &Step::SyncedDir(parent));
        }
        for name in ["objects", "actions"] {
            let made = place(&steps, &Step::Made(root.join(name)));
            assert!(steps[made..].contains(&Step::SyncedDir(root.clone())));
        }
    }

    /// Whoever finds a directory of objects there cannot know that it is on disk.
    #[test]
    fn a_directory_another_process_made_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _, key) = committed(dir.path());
        let outputs = store.record(&key).unwrap().unwrap().outputs;
        let path = store.object_path(&outputs["rows.jsonl"].digest);
        let other = Store::open(store.root());
        fs::write(dir.path().join("rows"), "rows").unwrap();
        take();
        other.put_file(&dir.path().join("rows")).unwrap();
        let steps = take();
        let listed = place(&steps, &Step::SyncedDir(store.root().join("objects")));
        let renamed = |step: &Step| matches!(step, Step::Renamed(_, to) if *to == path);
        assert!(listed < steps.iter().position(renamed).unwrap());
    }
}
