//! `moreline check`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::args::assignment;
use super::error::{CliError, EXIT_OK, EXIT_USAGE};
use super::findings::{self, Findings};
use super::session;
use super::terminal::{self, Colour};
use crate::config::{self, LoadOptions};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Experiment files; one called moreline.toml is read as a site file
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change a setting of every file, for example vars.data=DIR; may be repeated
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Look at the files alone, not at the data and models they name
    #[arg(long)]
    no_inputs: bool,
    /// The site file (default: as for `run`)
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What a check of one file gave.
struct Checked<'a> {
    file: &'a Path,
    findings: Findings,
    /// Stages, matrix cells counted; absent for a site file.
    stages: Option<usize>,
}

/// Checks files; the exit code.
pub(super) fn run(arguments: &CheckArguments) -> Result<u8, CliError> {
    let files = arguments.files.iter();
    let checked: Vec<Checked<'_>> = files.map(|file| check(file, arguments)).collect();
    let sound = checked.iter().all(|checked| checked.findings.is_empty());
    let code = if sound { EXIT_OK } else { EXIT_USAGE };
    if arguments.json {
        let files: Vec<Value> = checked.iter().map(as_json).collect();
        terminal::json(&json!({"files": files, "exit_code": code}))?;
        return Ok(code);
    }
    let checked_files = checked.len();
    for checked in &checked {
        if checked.findings.is_empty() {
            terminal::out(&all_right(checked))?;
        } else {
            if checked_files > 1 {
                terminal::error(&format!("{}:\n", checked.file.display()));
            }
            terminal::error(&checked.findings.render());
        }
    }
    Ok(code)
}

fn check<'a>(file: &'a Path, arguments: &CheckArguments) -> Checked<'a> {
    let mut findings = Findings::default();
    if file.file_name().is_some_and(|name| name == "moreline.toml") {
        findings.files.extend(config::read_site(file).err());
        return Checked {
            file,
            findings,
            stages: None,
        };
    }
    let options = LoadOptions {
        set: arguments.set.clone(),
        smoke: false,
    };
    let mut loaded = config::read(file, &options);
    findings.files.extend(loaded.errors.take());
    let site = session::site(file, arguments.site.as_deref())
        .map_err(|errors| findings.files.push(errors))
        .ok();
    if !arguments.no_inputs {
        findings.inputs = findings::of_inputs(&loaded, site.as_ref(), &session::lookup);
    }
    let stages = loaded.experiment.as_ref().map(|e| e.stages.len());
    Checked {
        file,
        findings,
        stages,
    }
}

fn all_right(checked: &Checked<'_>) -> String {
    let stages = match checked.stages {
        Some(1) => ", 1 stage".into(),
        Some(stages) => format!(", {stages} stages"),
        None => String::new(),
    };
    let right = terminal::paint(Colour::Green, "all right");
    format!("{}: {right}{stages}\n", checked.file.display())
}

fn as_json(checked: &Checked<'_>) -> Value {
    json!({
        "file": checked.file.display().to_string(),
        "ok": checked.findings.is_empty(),
        "stages": checked.stages,
        "problems": checked.findings.problems(),
    })
}
