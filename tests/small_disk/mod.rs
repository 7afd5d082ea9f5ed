//! Small file systems, to be filled up or made read-only.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own, taken away with this.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it; none, with a word on standard error, where that is not
    /// permitted.
    pub(crate) fn mount(at: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir_all(&at).expect("a directory");
        match mount(&["-t", "tmpfs", "-o", options, "tmpfs"], &at) {
            Ok(()) => Some(Self(at)),
            Err(why) => {
                // Written past the test harness, which hides what passing tests print.
                let mut stderr = std::io::stderr();
                let _ = writeln!(stderr, "not tested: no file system can be mounted: {why}");
                None
            }
        }
    }

    /// Mounts it anew with other options.
    pub(crate) fn change(&self, options: &str) {
        let options = format!("remount,{options}");
        mount(&["-o", &options], &self.0).expect("a changed file system");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> Result<(), String> {
    let output = Command::new("mount")
        .args(arguments)
        .arg(at)
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Writes a file until nothing more fits beside it.
pub(crate) fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}
