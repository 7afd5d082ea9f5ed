//! The resident memory of process groups, as the kernel shows it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use crate::store::read_text_at_most;

/// How often processes are looked at, for all groups together.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Most bytes of a process's status read.
#[cfg(target_os = "linux")]
const MAX_STATUS: u64 = 64 << 10;

/// Bytes held by each process group when processes were last looked at.
#[derive(Debug, Default)]
pub(super) struct Resident {
    last: Mutex<Option<(Instant, HashMap<u32, u64>)>>,
}

impl Resident {
    /// The bytes that the processes of a group hold together, at most a second
    /// ago; pages that several of them map count for each. Nothing where the
    /// system does not say: everywhere but on Linux.
    pub(super) fn of(&self, group: u32) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = last.as_ref().is_some_and(|(at, _)| at.elapsed() < EVERY);
        if !fresh {
            *last = Some((Instant::now(), groups()));
        }
        last.as_ref()?.1.get(&group).copied()
    }
}

#[cfg(not(target_os = "linux"))]
fn groups() -> HashMap<u32, u64> {
    HashMap::new()
}

/// The bytes that every process group holds.
#[cfg(target_os = "linux")]
fn groups() -> HashMap<u32, u64> {
    let mut groups: HashMap<u32, u64> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        if !name.to_str().is_some_and(is_process) {
            continue;
        }
        let status = read_text_at_most(&entry.path().join("status"), MAX_STATUS);
        if let Some((group, bytes)) = status.ok().and_then(|status| parse(&status)) {
            *groups.entry(group).or_default() += bytes;
        }
    }
    groups
}

/// The process group and the resident bytes in `/proc/PID/status`; threads of
/// the kernel have none.
#[cfg(target_os = "linux")]
fn parse(status: &str) -> Option<(u32, u64)> {
    let value = |key: &str| {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()
    };
    // The first is the number in this process's own namespace.
    let group = value("NSpgid:")?.parse().ok()?;
    let kibibytes: u64 = value("VmRSS:")?.parse().ok()?;
    Some((group, kibibytes << 10))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn group_and_bytes_are_found() {
        let status = "Name:\ta VmRSS:\nNSpgid:\t42\t1\nVmHWM:\t  9 kB\nVmRSS:\t     321 kB\n";
        assert_eq!(parse(status), Some((42, 321 << 10)));
        assert_eq!(parse("Name:\tkthreadd\nNSpgid:\t0\n"), None);
    }

    #[test]
    fn what_this_process_holds_is_seen() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        let held = Resident::default().of(group.cast_unsigned()).unwrap();
        // A test binary is larger than a megabyte, and no machine has a petabyte.
        assert!((1 << 20..1 << 50).contains(&held), "{held}");
    }
}
