//! Where a result came from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::store::{GitState, read_text_at_most};

/// Largest of git's small files read, in bytes.
const MAX_GIT: u64 = 64 << 10;
/// Largest list of packed references read, in bytes.
const MAX_REFS: u64 = 256 << 20;

/// The repository a path lies in: the commit checked out, and whether tracked
/// files differ from it (if `git` can be asked).
pub(super) fn git_state(path: &Path) -> Option<GitState> {
    let root = path.ancestors().find(|dir| dir.join(".git").exists())?;
    let git = git_dir(&root.join(".git"))?;
    Some(GitState {
        commit: head_commit(&git)?,
        dirty: is_dirty(root),
    })
}

/// The directory behind `.git`, which is a file in linked worktrees.
fn git_dir(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return Some(dot_git.to_owned());
    }
    let text = read_text_at_most(dot_git, MAX_GIT).ok()?;
    let path = text.strip_prefix("gitdir:")?.trim();
    Some(dot_git.parent()?.join(path))
}

fn head_commit(git: &Path) -> Option<String> {
    let head = read_text_at_most(&git.join("HEAD"), MAX_GIT).ok()?;
    let head = head.trim();
    let Some(name) = head.strip_prefix("ref: ") else {
        return is_commit(head).then(|| head.to_owned());
    };
    let common = read_text_at_most(&git.join("commondir"), MAX_GIT)
        .map_or_else(|_| git.to_owned(), |text| git.join(text.trim()));
    let loose = read_text_at_most(&common.join(name), MAX_GIT).map(|text| text.trim().to_owned());
    if let Ok(commit) = loose {
        return is_commit(&commit).then_some(commit);
    }
    let packed = read_text_at_most(&common.join("packed-refs"), MAX_REFS).ok()?;
    packed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(commit, reference)| *reference == name && is_commit(commit))
        .map(|(commit, _)| commit.to_owned())
}

fn is_commit(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_dirty(root: &Path) -> Option<bool> {
    let output = Command::new("git")
        .args(["--no-optional-locks", "status", "--porcelain"])
        .arg("--untracked-files=no")
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then_some(!output.stdout.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn repository(head: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join(".git");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::write(git.join("HEAD"), head).unwrap();
        dir
    }

    fn commit(dir: &tempfile::TempDir) -> Option<String> {
        head_commit(&dir.path().join(".git"))
    }

    #[test]
    fn a_commit_is_found_loose_packed_and_detached() {
        let loose = repository("ref: refs/heads/main\n");
        fs::write(loose.path().join(".git/refs/heads/main"), COMMIT).unwrap();
        assert_eq!(commit(&loose).as_deref(), Some(COMMIT));
        let packed = repository("ref: refs/heads/main\n");
        let refs = format!("# pack-refs\n{COMMIT} refs/heads/main\n");
        fs::write(packed.path().join(".git/packed-refs"), refs).unwrap();
        assert_eq!(commit(&packed).as_deref(), Some(COMMIT));
        assert_eq!(commit(&repository(COMMIT)).as_deref(), Some(COMMIT));
        assert_eq!(commit(&repository("ref: refs/heads/main\n")), None);
        assert_eq!(commit(&repository("nonsense")), None);
    }

    #[test]
    fn a_linked_worktree_leads_to_its_repository() {
        let main = repository("ref: refs/heads/main\n");
        let git = main.path().join(".git");
        fs::write(git.join("refs/heads/side"), COMMIT).unwrap();
        let linked = git.join("worktrees/w");
        fs::create_dir_all(&linked).unwrap();
        fs::write(linked.join("HEAD"), "ref: refs/heads/side\n").unwrap();
        fs::write(linked.join("commondir"), "../..\n").unwrap();
        let work = tempfile::tempdir().unwrap();
        let pointer = format!("gitdir: {}\n", linked.display());
        fs::write(work.path().join(".git"), pointer).unwrap();
        let found = git_state(&work.path().join("e.toml")).unwrap();
        assert_eq!(found.commit, COMMIT);
    }
}
