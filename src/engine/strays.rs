//! Processes that a worker left behind.
//!
//! A worker's group is killed with it, but a process may have left the group,
//! and would go on writing into the files it has open. Every process of an
//! attempt carries the attempt's directory in its environment, whatever became
//! of its parents: by that it is found.

use std::path::Path;

/// The environment variable that holds an attempt's directory.
pub(super) const ATTEMPT: &str = "MORELINE_ATTEMPT";

/// Kills every process of this user that belongs to an attempt in this
/// directory, and waits until they are gone, as long as that can be seen.
#[cfg(target_os = "linux")]
pub(super) fn end(attempts: &Path) {
    // A process that is killed may just have started another.
    for _ in 0..linux::LOOKS {
        if !linux::kill_all(attempts) {
            return;
        }
        std::thread::sleep(linux::PAUSE);
    }
}

/// Other systems do not show the environment of processes.
#[cfg(not(target_os = "linux"))]
pub(super) fn end(_: &Path) {}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::time::Duration;

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    /// Times processes are looked for; with the pause between, two seconds.
    pub(super) const LOOKS: usize = 200;
    pub(super) const PAUSE: Duration = Duration::from_millis(10);
    /// Most bytes of an environment read.
    const MAX_ENVIRONMENT: u64 = 4 << 20;

    /// True if there were any.
    pub(super) fn kill_all(attempts: &Path) -> bool {
        let processes = std::fs::read_dir("/proc").into_iter().flatten();
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let own = std::process::id().cast_signed();
        let others = pids.filter(|pid| *pid != own);
        let killed = others.filter(|pid| kill(*pid, attempts).is_some());
        killed.count() > 0
    }

    /// Kills a process if it belongs to such an attempt. The process is held
    /// before it is looked at: its number may become another's.
    fn kill(pid: i32, attempts: &Path) -> Option<()> {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let file = File::open(format!("/proc/{pid}/environ")).ok()?;
        let mut environment = Vec::new();
        file.take(MAX_ENVIRONMENT)
            .read_to_end(&mut environment)
            .ok()?;
        if !belongs(&environment, attempts) {
            return None;
        }
        pidfd_send_signal(process, Signal::KILL).ok()
    }

    fn belongs(environment: &[u8], attempts: &Path) -> bool {
        let prefix = [super::ATTEMPT.as_bytes(), b"="].concat();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|variable| {
            let value = variable.strip_prefix(&prefix[..]);
            value.is_some_and(|path| {
                Path::new(std::ffi::OsStr::from_bytes(path)).starts_with(attempts)
            })
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_the_attempts_own_processes_belong() {
            let belongs = |text: &str| belongs(text.as_bytes(), Path::new("/c/attempts/r"));
            assert!(belongs("A=b\0MORELINE_ATTEMPT=/c/attempts/r/x-1\0C=d\0"));
            assert!(belongs("MORELINE_ATTEMPT=/c/attempts/r"));
            assert!(!belongs("MORELINE_ATTEMPT=/c/attempts/r2/x-1"));
            assert!(!belongs("A=MORELINE_ATTEMPT=/c/attempts/r/x-1"));
            assert!(!belongs(""));
        }
    }
}
