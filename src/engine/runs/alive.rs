//! Whether the process of a run is still there.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::store::read_text_at_most;

/// Largest `/proc/PID/stat` read, in bytes.
const MAX_STAT: u64 = 64 << 10;
/// Fields of `/proc/PID/stat` between the program's name and its start.
const FIELDS_TO_START: usize = 19;

/// True if there is a process of this number, and it began at the same moment as
/// the one that is meant, as far as both are known.
pub(super) fn is_alive(pid: u32, started: Option<u64>) -> bool {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let there = id.is_some_and(|id| {
        let signalled = test_kill_process(id);
        // Another user's process may not be signalled, but it is there.
        signalled.is_ok() || signalled == Err(Errno::PERM)
    });
    let other = started
        .zip(process_started(pid))
        .is_some_and(|(then, now)| then != now);
    there && !other
}

/// When a process began, in clock ticks since the machine did; none where the
/// system does not say. Tells a process from a later one of the same number.
pub(in crate::engine) fn process_started(pid: u32) -> Option<u64> {
    let stat = read_text_at_most(format!("/proc/{pid}/stat").as_ref(), MAX_STAT).ok()?;
    // The program's name is in brackets, and may hold any character.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    fields.nth(FIELDS_TO_START)?.parse().ok()
}
