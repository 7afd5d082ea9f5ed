//! An experiment and its site as the command line names them.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line reads the environment"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use moreline_protocol::artifact::{STEP, split_step};

use super::args::{CacheTarget, ExperimentArguments};
use super::error::CliError;
use super::findings::{self, Findings};
use super::progress::Progress;
use crate::config::{self, ConfigErrors, Experiment, LoadOptions, Site, load, load_site};
use crate::engine::{Environment, Remote};
use crate::store::LayerSecrets;

/// An experiment and its site.
pub(super) struct Session {
    /// The experiment.
    pub(super) experiment: Experiment,
    /// The site.
    pub(super) site: Site,
}

impl Session {
    /// Reads the files that the arguments name.
    pub(super) fn open(arguments: &ExperimentArguments) -> Result<Self, CliError> {
        Self::read(arguments, false)
    }

    /// The same for a run: if a file is wrong, the inputs are looked at too,
    /// so that everything is told in one round.
    pub(super) fn open_for_run(arguments: &ExperimentArguments) -> Result<Self, CliError> {
        Self::read(arguments, true)
    }

    fn read(arguments: &ExperimentArguments, inputs: bool) -> Result<Self, CliError> {
        let options = LoadOptions {
            set: arguments.set.clone(),
            smoke: arguments.smoke,
        };
        let mut loaded = config::read(&arguments.file, &options);
        let site = site(&arguments.file, arguments.site.as_deref());
        let mut findings = Findings::default();
        findings.files.extend(loaded.errors.take());
        let site = site.map_err(|errors| findings.files.push(errors)).ok();
        match (loaded.experiment.take(), site) {
            (Some(experiment), Some(site)) if findings.is_empty() => Ok(Self { experiment, site }),
            (experiment, site) => {
                loaded.experiment = experiment;
                if inputs {
                    findings.inputs = findings::of_inputs(&loaded, site.as_ref(), &lookup);
                }
                Err(CliError::Wrong(Box::new(findings)))
            }
        }
    }

    /// For commands on a cache: without an experiment file, as if one lay in
    /// the working directory.
    pub(super) fn of_cache(target: &CacheTarget) -> Result<Self, CliError> {
        if let Some(file) = &target.file {
            let experiment = load(file, &LoadOptions::default())?;
            let site = site(file, target.site.as_deref())?;
            return Ok(Self { experiment, site });
        }
        let file = absolute_or_here(None)?;
        let site = site(&file, target.site.as_deref())?;
        Ok(Self::nameless(file, site))
    }

    /// A site with an experiment of no stages in a file that is not read.
    pub(super) fn nameless(file: PathBuf, site: Site) -> Self {
        let experiment = Experiment {
            path: file,
            name: String::new(),
            title: None,
            models: BTreeMap::new(),
            data: BTreeMap::new(),
            prompts: BTreeMap::new(),
            responses: BTreeMap::new(),
            stages: Vec::new(),
            smoke: false,
        };
        Self { experiment, site }
    }

    /// The site's cache layers, if they are to be asked.
    pub(super) fn remote<'a>(&self, asked: bool, progress: &'a Progress) -> Option<Remote<'a>> {
        asked.then(|| Remote::open(&self.site, &environment(&self.site), progress))
    }

    /// The stage of this name: a cell, or a stage of a single cell. What names a
    /// step stays.
    pub(super) fn stage_name(&self, name: &str) -> Result<String, CliError> {
        if let Some((stage, Some(step))) = split_step(name) {
            return Ok(format!("{}{STEP}{step}", self.stage_name(stage)?));
        }
        let stages = &self.experiment.stages;
        if stages.iter().any(|stage| stage.name == name) {
            return Ok(name.to_owned());
        }
        let cells: Vec<&str> = stages
            .iter()
            .filter(|stage| stage.base == name)
            .map(|stage| stage.name.as_str())
            .collect();
        match cells.as_slice() {
            // The engine knows how to tell what was meant.
            [] => Ok(name.to_owned()),
            [only] => Ok((*only).to_owned()),
            _ => Err(CliError::WhichCell {
                base: name.to_owned(),
                cells: cells.join(", "),
            }),
        }
    }
}

/// An experiment file's path in full; without one, as if one lay in the
/// working directory.
pub(super) fn absolute_or_here(file: Option<&Path>) -> Result<PathBuf, CliError> {
    let file = file.unwrap_or(Path::new("experiment.toml"));
    std::path::absolute(file).map_err(|cause| CliError::Environment {
        what: "the working directory",
        cause,
    })
}

/// The site of an experiment file.
pub(super) fn site(experiment: &Path, explicit: Option<&Path>) -> Result<Site, ConfigErrors> {
    let user = user_config().map(|directory| directory.join("moreline").join("site.toml"));
    load_site(experiment, explicit, user.as_deref())
}

fn user_config() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))
}

/// What the engine takes from the environment.
pub(super) fn environment(site: &Site) -> Environment {
    let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Environment {
        hf_token: text("HF_TOKEN"),
        hf_endpoint: text("HF_ENDPOINT"),
        offline: text("HF_HUB_OFFLINE").is_some_and(|value| value != "0"),
        layer_secrets: LayerSecrets::of(&site.cache_layers, &lookup),
    }
}

/// Looks an API key up by the name of its variable.
pub(super) fn lookup(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The directories that programs are looked for in.
pub(super) fn program_path() -> Option<OsString> {
    std::env::var_os("PATH")
}

/// The worker program beside this one.
pub(super) fn worker() -> Result<PathBuf, CliError> {
    let own = std::env::current_exe().map_err(|cause| CliError::Environment {
        what: "this program's own file",
        cause,
    })?;
    Ok(own.with_file_name("moreline-worker"))
}

/// True if `--json` is among the words of a command line that made no sense.
pub(super) fn asked_for_json() -> bool {
    std::env::args_os().any(|word| word == "--json")
}

/// This process's command line, as a shell takes it.
pub(super) fn command_line() -> String {
    let words: Vec<String> = std::env::args().map(|word| quoted(&word)).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("stage.rm.lr=1e-5"), "stage.rm.lr=1e-5");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
