//! Processors, memory, GPUs and limits.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::cli::table::bytes;
use crate::config::Site;
use crate::store::read_text_at_most;

/// Memory below which the demo's trainings do not fit.
const LITTLE_MEMORY: u64 = 4 << 30;
/// Open files that a run may need: pipes, logs and objects.
const FILES: u64 = 1024;
/// Largest file of the kernel's that is read.
const MAX_TEXT: u64 = 1 << 22;

/// Looks at the machine.
pub(super) fn look(site: &Site) -> Vec<Finding> {
    let mut findings = vec![processors(site)];
    findings.extend(memory(site));
    findings.extend(devices(site, &gpus()));
    findings.extend(open_files());
    findings
}

fn processors(site: &Site) -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpuinfo = text("/proc/cpuinfo");
    let model = cpuinfo
        .as_deref()
        .and_then(|text| value(text, "model name"));
    let simd = simd();
    let found = format!(
        "{cores} cores, {}, {}",
        model.unwrap_or(std::env::consts::ARCH),
        if simd.is_empty() {
            "no SIMD known".into()
        } else {
            simd.join(" ")
        }
    );
    if site.threads.is_some_and(|threads| threads as usize > cores) {
        let hint = format!("set `threads` in the site file to {cores} or leave it out");
        return Finding::warn(
            "processors",
            format!("{found}; `threads` asks for more"),
            hint,
        );
    }
    if cfg!(target_arch = "x86_64") && !simd.contains(&"avx2") {
        let hint = "libtorch is slow without AVX2; take another machine for training";
        return Finding::warn("processors", found, hint);
    }
    Finding::ok("processors", found)
}

/// The instruction sets that matter to matrix products.
#[cfg(target_arch = "x86_64")]
fn simd() -> Vec<&'static str> {
    let known = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
    ];
    let found = known.into_iter().filter(|(_, found)| *found);
    found.map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> Vec<&'static str> {
    Vec::new()
}

fn memory(site: &Site) -> Option<Finding> {
    let meminfo = text("/proc/meminfo")?;
    let kibibytes = |key| -> Option<u64> {
        let value = value(&meminfo, key)?;
        value.strip_suffix("kB")?.trim().parse().ok()
    };
    let total = kibibytes("MemTotal")? << 10;
    let available = kibibytes("MemAvailable")? << 10;
    let limit = text("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    let limit = limit.filter(|limit: &u64| *limit < total);
    let usable = limit.map_or(available, |limit| limit.min(available));
    let mut found = format!("{} available of {}", bytes(available), bytes(total));
    if let Some(limit) = limit {
        found.push_str(&format!(", {} allowed to this container", bytes(limit)));
    }
    if let Some(wanted) = site.limits.memory_mb {
        let wanted = u64::from(wanted) << 20;
        found.push_str(&format!(
            ", {} allowed to workers on the CPU",
            bytes(wanted)
        ));
        let most = limit.unwrap_or(total);
        if wanted > most {
            let hint = format!("set `memory_mb` in the site file to {} or less", most >> 20);
            return Some(Finding::warn("memory", found, hint));
        }
    }
    Some(if usable < LITTLE_MEMORY {
        let hint = "lower `token_budget` in the site file; `recompute_every = 1` or `lora` in a \
                    training stage take less";
        Finding::warn("memory", found, hint)
    } else {
        Finding::ok("memory", found)
    })
}

/// The names of NVIDIA's GPUs, as its driver lists them.
fn gpus() -> Vec<String> {
    let cards = fs::read_dir("/proc/driver/nvidia/gpus")
        .into_iter()
        .flatten();
    let mut cards: Vec<_> = cards.flatten().map(|card| card.path()).collect();
    cards.sort();
    let name = |card: &std::path::PathBuf| {
        let information = read_text_at_most(&card.join("information"), MAX_TEXT).ok();
        let name = information.as_deref().and_then(|text| value(text, "Model"));
        name.unwrap_or("GPU").to_owned()
    };
    cards.iter().map(name).collect()
}

fn devices(site: &Site, gpus: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, name) in site.devices.iter().enumerate() {
        if site.devices[..place].contains(name) {
            continue;
        }
        let workers = workers(site, name);
        let index = match name.as_str() {
            "cpu" => {
                findings.push(Finding::ok("device", format!("cpu{workers}")));
                continue;
            }
            other => other
                .strip_prefix("cuda:")
                .map_or(Some(0), |n| n.parse().ok()),
        };
        let gpu = index.and_then(|index: usize| gpus.get(index));
        findings.push(match gpu {
            Some(gpu) => Finding::ok("device", format!("{name}: {gpu}{workers}")),
            None => Finding::fail(
                "device",
                format!("{name}: the NVIDIA driver shows {} GPUs", gpus.len()),
                "take it out of `devices` in the site file, or mend the driver",
            ),
        });
    }
    if site.devices.is_empty() {
        findings.push(match gpus {
            [] => Finding::ok("device", "cpu"),
            some => Finding::warn(
                "device",
                format!("cpu, though there are GPUs: {}", some.join(", ")),
                "set devices = [\"cuda:0\"] in the site file, and `make libtorch-cuda`",
            ),
        });
    }
    findings
}

/// How many workers share a device, if several do.
fn workers(site: &Site, name: &str) -> String {
    match site.devices.iter().filter(|other| *other == name).count() {
        1 => String::new(),
        count => format!(", {count} workers at once"),
    }
}

fn open_files() -> Option<Finding> {
    let allowed = getrlimit(Resource::Nofile).current?;
    let found = format!("{allowed} allowed at once");
    Some(if allowed < FILES {
        Finding::warn("open files", found, format!("ulimit -n {}", 4 * FILES))
    } else {
        Finding::ok("open files", found)
    })
}

fn text(path: &str) -> Option<String> {
    read_text_at_most(Path::new(path), MAX_TEXT).ok()
}

/// What stands behind the first `key :` of a text of such lines.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::config::Limits;

    fn statuses(devices_: &[&str], gpus: &[&str]) -> Vec<Status> {
        let site = Site {
            devices: devices_.iter().map(|name| (*name).to_owned()).collect(),
            ..Site::default()
        };
        let gpus: Vec<String> = gpus.iter().map(|name| (*name).to_owned()).collect();
        devices(&site, &gpus)
            .iter()
            .map(|found| found.status)
            .collect()
    }

    #[test]
    fn devices_that_are_not_there_fail() {
        use Status::{Fail, Ok, Warn};
        assert_eq!(statuses(&[], &[]), [Ok]);
        assert_eq!(statuses(&[], &["A"]), [Warn]);
        assert_eq!(statuses(&["cpu", "cuda", "cuda:1"], &["A"]), [Ok, Ok, Fail]);
    }

    #[test]
    fn a_device_named_twice_is_told_once() {
        let site = Site {
            devices: ["cuda:0", "cpu", "cuda:0"].map(String::from).into(),
            ..Site::default()
        };
        let found = devices(&site, &["A".into()]);
        let found: Vec<_> = found.iter().map(|found| found.found.as_str()).collect();
        assert_eq!(found, ["cuda:0: A, 2 workers at once", "cpu"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_limit_beyond_the_machine_is_worth_a_word() {
        let told = |memory_mb| {
            let site = Site {
                limits: Limits { memory_mb },
                ..Site::default()
            };
            memory(&site).unwrap()
        };
        let allowed = "allowed to workers on the CPU";
        assert!(!told(None).found.contains(allowed));
        assert!(told(Some(1)).found.contains(allowed));
        let most = told(Some(u32::MAX));
        assert_eq!(most.status, Status::Warn);
        assert!(most.hint.unwrap().contains("memory_mb"));
    }

    #[test]
    fn values_are_found_by_their_key() {
        let text = "model name\t: A  B\nMemTotal:  5 kB\n";
        assert_eq!(value(text, "model name"), Some("A  B"));
        assert_eq!(value(text, "MemTotal"), Some("5 kB"));
        assert_eq!(value(text, "Mem"), None);
    }
}
