//! The command that starts a worker, and what its environment holds.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::config::CacheLayer;
use crate::engine::task::Task;
use crate::engine::{StageFailure, strays};

/// Turns a worker's threads spin at a barrier before they sleep. libgomp's own
/// 300,000 make a training many times slower as soon as anything else runs on
/// the machine; a few thousand cost nothing on a quiet one.
const SPINS: &str = "2000";

/// Matrix products that oneDNN, and libtorch above it, keep compiled. A batch has
/// sizes of its own and needs about twenty; the thousand kept otherwise grow to
/// gigabytes over a training.
const PRIMITIVES: [(&str, &str); 2] = [
    ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128"),
    ("LRU_CACHE_CAPACITY", "128"),
];

/// Ask for large pages: a training touches gigabytes, and page by page that is a
/// good part of its first steps (glibc 2.35 and later, others take no notice).
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";

/// The command that starts the worker on a job: the site's launcher, if it has
/// one, before the program.
pub(super) fn command(task: &Task<'_>, job: &Path) -> Command {
    let program = program(task);
    let mut command = match launcher(task) {
        Some((launcher, arguments)) => {
            let mut command = Command::new(launcher);
            command.args(arguments).arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .args(["run", "--job"])
        .arg(job)
        .env("GOMP_SPINCOUNT", SPINS)
        .env("GLIBC_TUNABLES", HUGE_PAGES)
        .envs(PRIMITIVES)
        .env(strays::ATTEMPT, super::attempt(job));
    for name in secrets(task) {
        command.env_remove(name);
    }
    command
}

/// True if workers are started through another program.
pub(super) fn is_launched(task: &Task<'_>) -> bool {
    launcher(task).is_some()
}

/// What to say if that command cannot be started.
pub(super) fn not_started(task: &Task<'_>, error: &io::Error) -> StageFailure {
    match launcher(task) {
        Some((launcher, _)) => StageFailure::new(format!(
            "cannot start `{launcher}`, which `launcher` in the site file names: {error}"
        ))
        .with_hint("install it, write its path, or take `launcher` out of the site file"),
        None => StageFailure::new(format!(
            "cannot start the worker {}: {error}",
            program(task).display()
        ))
        .with_hint(
            "build it with `cargo build --release`, or name it as `worker` in the site file",
        ),
    }
}

fn program<'a>(task: &'a Task<'_>) -> &'a Path {
    let own = task.context.site.worker.as_deref();
    own.unwrap_or(&task.context.options.worker)
}

fn launcher<'a>(task: &'a Task<'_>) -> Option<(&'a String, &'a [String])> {
    task.context.site.launcher.as_deref()?.split_first()
}

/// Names of the environment variables that hold keys: none is a worker's.
fn secrets<'a>(task: &'a Task<'_>) -> impl Iterator<Item = &'a str> {
    let endpoints = task.context.site.endpoint.values();
    let keys = endpoints.filter_map(|endpoint| endpoint.key_env.as_deref());
    let layers = task.context.site.cache_layers.iter();
    keys.chain(layers.flat_map(CacheLayer::variables))
        .chain(["HF_TOKEN", "HF_ENDPOINT"])
}
