//! The cache: room on its disk, what is in it, what is damaged in it.

use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::Finding;
use crate::cli::table::bytes;
use crate::store::{CacheHealth, CacheSize, Store};

/// Room below which a training's checkpoints may not fit.
const LITTLE_ROOM: u64 = 5 << 30;
/// Room below which nothing fits.
const NO_ROOM: u64 = 256 << 20;

/// Looks at a store, which need not exist.
pub(super) fn look(store: &Store) -> Vec<Finding> {
    let root = store.root();
    let there = root.ancestors().find(|path| path.exists());
    let mut findings: Vec<Finding> = there.and_then(room).into_iter().collect();
    if !root.exists() {
        let found = format!("{}: none yet, the first run makes it", root.display());
        findings.push(Finding::ok("cache", found));
        return findings;
    }
    if access(root, Access::WRITE_OK).is_err() {
        findings.push(Finding::fail(
            "cache",
            format!("{} may only be read", root.display()),
            "make it writable, or name another place as `cache` in the site file",
        ));
    }
    match store.size().and_then(|size| Ok((size, store.health()?))) {
        Ok((size, health)) => findings.extend(contents(root, &size, &health)),
        Err(error) => findings.push(Finding::fail(
            "cache",
            error.to_string(),
            "mend the disk or its permissions, or name another place as `cache` in the site file",
        )),
    }
    findings
}

fn room(path: &Path) -> Option<Finding> {
    let stat = statvfs(path).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} free at {}", bytes(free), path.display());
    let hint = "make room (`moreline cache gc`), or set `cache` in the site file to another disk";
    Some(match free {
        0..NO_ROOM => Finding::fail("disk", found, hint),
        NO_ROOM..LITTLE_ROOM => Finding::warn("disk", found, hint),
        _ => Finding::ok("disk", found),
    })
}

fn contents(root: &Path, size: &CacheSize, health: &CacheHealth) -> Vec<Finding> {
    let found = format!(
        "{}: {} stages, {} in {} objects, {} of checkpoints, {} of fetched models",
        root.display(),
        size.records,
        bytes(size.object_bytes),
        size.objects,
        bytes(size.partial_bytes),
        bytes(size.hub_bytes),
    );
    let mut findings = vec![Finding::ok("cache", found)];
    if health.quarantined > 0 {
        findings.push(Finding::warn(
            "cache",
            format!("{} damaged objects were set aside", health.quarantined),
            "look at the disk; runs make them anew, and `moreline cache gc` removes the damaged ones",
        ));
    }
    if health.stale_partials > 0 {
        findings.push(Finding::warn(
            "cache",
            format!(
                "checkpoints of {} interrupted stages have not been touched for {} days",
                health.stale_partials,
                Store::STALE_DAYS
            ),
            "run their experiments on, or `moreline cache gc --max-age 7d`",
        ));
    }
    findings
}
