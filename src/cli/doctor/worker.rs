//! The worker program: is it there, does it start, is it of this version.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Finding;
use crate::cli::error::CliError;
use crate::cli::session;
use crate::config::Site;

const TOPIC: &str = "worker";
/// Loading libtorch from a slow disk takes its time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most that is read of what it says.
const MAX_SAID: u64 = 1 << 16;

/// What a program said and whether it ended well.
struct Said {
    success: bool,
    out: String,
    err: String,
}

/// Starts the worker program to ask for its version, which loads libtorch: here,
/// without the launcher.
pub(super) fn look(site: &Site) -> Result<Option<Finding>, CliError> {
    let program = match &site.worker {
        Some(program) => program.clone(),
        None => session::worker()?,
    };
    Ok(Some(match ask(&program) {
        Ok(said) => judge(&program, &said, site),
        Err(error) => Finding::fail(
            TOPIC,
            format!("{} cannot be started: {error}", program.display()),
            "build it with `cargo build --release`, or name it as `worker` in the site file",
        ),
    }))
}

fn judge(program: &Path, said: &Said, site: &Site) -> Finding {
    let shown = program.display();
    if !said.success {
        let last = said.err.lines().last().unwrap_or("it says nothing");
        let hint = "if it lacks libtorch_cpu.so, `make setup` links that again";
        return Finding::fail(TOPIC, format!("{shown} does not start: {last}"), hint);
    }
    let (first, rest) = said.out.trim().split_once('\n').unwrap_or((&said.out, ""));
    match first.trim().strip_prefix("moreline-worker ") {
        Some(version) if version == env!("CARGO_PKG_VERSION") => {
            let libtorch = rest.lines().next().unwrap_or("libtorch loads");
            let found = format!("{shown} {version}, {libtorch}");
            let wants_cuda = site.devices.iter().any(|name| name.starts_with("cuda"));
            if wants_cuda && libtorch.contains(" 0 CUDA devices") {
                let hint = "`make libtorch-cuda` and `make build`, on a machine whose driver works";
                return Finding::fail(TOPIC, format!("{found}, and the site file names one"), hint);
            }
            Finding::ok(TOPIC, found)
        }
        Some(version) => Finding::warn(
            TOPIC,
            format!("{shown} is version {version}"),
            "build both programs from one clone: cargo build --release",
        ),
        None => Finding::warn(
            TOPIC,
            format!("{shown} does not say its version"),
            "name a moreline-worker as `worker` in the site file",
        ),
    }
}

fn ask(program: &Path) -> std::io::Result<Said> {
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().map(reader);
    let err = child.stderr.take().map(reader);
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(std::io::Error::other("it does not answer in time"));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    };
    Ok(Said {
        success: status.success(),
        out: text(out),
        err: text(err),
    })
}

fn reader(pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is told all the same.
        let _ = pipe.take(MAX_SAID).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn status(success: bool, out: &str) -> Status {
        status_with(success, out, &[])
    }

    fn status_with(success: bool, out: &str, devices: &[&str]) -> Status {
        let site = Site {
            devices: devices.iter().map(|name| (*name).to_owned()).collect(),
            ..Site::default()
        };
        let said = Said {
            success,
            out: out.into(),
            err: String::new(),
        };
        judge(Path::new("worker"), &said, &site).status
    }

    #[test]
    fn a_worker_of_another_version_is_worth_a_word() {
        let own = concat!("moreline-worker ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(status(true, own), Status::Ok);
        assert_eq!(status(true, "moreline-worker 0.0.1\n"), Status::Warn);
        assert_eq!(status(true, "hello\n"), Status::Warn);
        assert_eq!(status(false, own), Status::Fail);
    }

    #[test]
    fn a_libtorch_that_sees_no_gpu_does_where_none_is_wanted() {
        let told = |count| {
            let version = env!("CARGO_PKG_VERSION");
            format!("moreline-worker {version}\nlibtorch 2.13.0, AVX2, {count} CUDA devices\n")
        };
        assert_eq!(status(true, &told(0)), Status::Ok);
        assert_eq!(status_with(true, &told(0), &["cpu"]), Status::Ok);
        assert_eq!(status_with(true, &told(0), &["cuda:0"]), Status::Fail);
        assert_eq!(status_with(true, &told(10), &["cuda:0"]), Status::Ok);
    }
}
