//! The program that starts workers: is it there.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::config::Site;

/// Looks for the launcher, if the site names one; it is not started. `path` is
/// the list of directories that programs are looked for in.
pub(super) fn look(site: &Site, path: Option<&OsStr>) -> Option<Finding> {
    let (program, arguments) = site.launcher.as_deref()?.split_first()?;
    Some(match find(program, path) {
        Some(found) => {
            let command = [&[found.display().to_string()], arguments].concat();
            Finding::ok("launcher", command.join(" "))
        }
        None => Finding::fail(
            "launcher",
            format!("`{program}` is not there, or cannot be executed"),
            "install it, write its path, or take `launcher` out of the site file",
        ),
    })
}

/// The file that is started as a program of this name.
fn find(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|file| is_program(file));
    }
    let mut places = std::env::split_paths(path?).map(|place| place.join(program));
    places.find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    let metadata = file.metadata();
    metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn seen(launcher: &[&str]) -> Option<(Status, String)> {
        let site = Site {
            launcher: Some(launcher.iter().map(|item| (*item).to_owned()).collect()),
            ..Site::default()
        };
        let found = look(&site, Some(OsStr::new("/nowhere:/bin:/usr/bin")))?;
        Some((found.status, found.found))
    }

    #[test]
    fn a_launcher_is_looked_for_where_programs_are() {
        assert_eq!(look(&Site::default(), None), None);
        let (status, found) = seen(&["sh", "-c"]).unwrap();
        assert!(
            status == Status::Ok && found.ends_with("bin/sh -c"),
            "{found}"
        );
        assert_eq!(seen(&["/bin/sh"]).unwrap().0, Status::Ok);
        for missing in ["no-such-launcher", "/bin/no-such-launcher", "/etc/passwd"] {
            let (status, found) = seen(&[missing]).unwrap();
            assert!(status == Status::Fail && found.contains(missing), "{found}");
        }
    }
}
