//! Files that a killed process wrote under a temporary name.

use std::fs;
use std::path::Path;

use super::Store;
use super::durable::{TEMPORARY, entries};
use super::error::{AtPath, StoreError};

impl Store {
    /// Removes the temporary files of processes that were killed, or only counts
    /// their bytes. Nobody may write to the store meanwhile.
    pub(super) fn remove_leftovers(&self, dry_run: bool) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for name in ["", "objects", "actions", "latest", "pins"] {
            for path in entries(&self.root.join(name))? {
                let file = fs::symlink_metadata(&path);
                let Some(file) = file.ok().filter(|file| file.is_file() && is_left(&path)) else {
                    continue;
                };
                bytes += file.len();
                if !dry_run {
                    fs::remove_file(&path).at("remove", &path)?;
                }
            }
        }
        Ok(bytes)
    }
}

/// True for the name of a temporary file.
fn is_left(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let rest = name.and_then(|name| name.strip_prefix(TEMPORARY));
    rest.is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Policy;

    #[test]
    fn what_a_killed_process_left_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path());
        store.prepare().unwrap();
        let left = [".tmp-1-2-3", "objects/.tmp-1-2-3", "pins/.tmp-1-2-3"];
        let kept = ["memo", "objects/.tmpfile", "actions/mine"];
        fs::create_dir_all(dir.path().join("pins")).unwrap();
        for name in left.iter().chain(&kept) {
            fs::write(dir.path().join(name), "half").unwrap();
        }
        let dry = Policy {
            dry_run: true,
            ..Policy::default()
        };
        assert_eq!(store.gc(&dry, &|_| {}).unwrap().bytes, 12);
        assert_eq!(store.gc(&Policy::default(), &|_| {}).unwrap().bytes, 12);
        let there = |name: &&str| dir.path().join(name).exists();
        assert!(!left.iter().any(&there));
        assert!(kept.iter().all(there));
    }
}
