//! `moreline doctor`: what this machine gives to a run, and what to mend.

mod cache;
mod launcher;
mod machine;
mod network;
mod worker;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::error::{CliError, EXIT_DIFFERENT, EXIT_OK};
use super::session::{self, Session};
use super::table::columns;
use super::terminal::{self, Colour};
use crate::config::{ConfigErrors, Site};
use crate::engine;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// An experiment whose site and cache are meant (default: those of
    /// experiments in this directory)
    file: Option<PathBuf>,
    /// The site file
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
    /// Ask the model hub and the endpoints too; nothing else leaves this machine
    #[arg(long)]
    network: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Status {
    /// As it should be.
    Ok,
    /// A run may work, or not as well as it could.
    Warn,
    /// A run will not work.
    Fail,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    topic: String,
    /// How it is.
    status: Status,
    /// What was found.
    found: String,
    /// What to do about it.
    hint: Option<String>,
}

impl Finding {
    fn ok(topic: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            status: Status::Ok,
            found: found.into(),
            hint: None,
        }
    }

    fn warn(topic: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            hint: Some(hint.into()),
            ..Self::ok(topic, found)
        }
    }

    fn fail(topic: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(topic, found, hint)
        }
    }
}

/// Looks at everything; the exit code.
pub(super) fn run(arguments: &DoctorArguments) -> Result<u8, CliError> {
    let findings = examine(arguments)?;
    let failed = findings.iter().any(|found| found.status == Status::Fail);
    let code = if failed { EXIT_DIFFERENT } else { EXIT_OK };
    if arguments.json {
        terminal::json(&json!({"findings": findings, "exit_code": code}))?;
    } else {
        terminal::out(&as_text(&findings))?;
    }
    Ok(code)
}

fn examine(arguments: &DoctorArguments) -> Result<Vec<Finding>, CliError> {
    let file = session::absolute_or_here(arguments.file.as_deref())?;
    let version = concat!("moreline ", env!("CARGO_PKG_VERSION"));
    let mut findings = vec![Finding::ok("version", version)];
    let site = match session::site(&file, arguments.site.as_deref()) {
        Ok(site) => site,
        Err(errors) => {
            findings.push(wrong_site(&errors));
            Site::default()
        }
    };
    let nameless = Session::nameless(file, site);
    let (experiment, site) = (&nameless.experiment, &nameless.site);
    findings.extend(worker::look(site)?);
    findings.extend(launcher::look(site, session::program_path().as_deref()));
    findings.extend(machine::look(site));
    findings.extend(cache::look(&engine::store(experiment, site)));
    findings.extend(network::look(site, arguments.network));
    Ok(findings)
}

fn wrong_site(errors: &ConfigErrors) -> Finding {
    let first = errors.errors.first();
    let message = first.map_or("it cannot be read", |error| error.message());
    let hint = first.and_then(|error| error.hint());
    Finding::fail(
        "site file",
        format!("{errors}: {message}"),
        hint.unwrap_or("mend it"),
    )
}

fn as_text(findings: &[Finding]) -> String {
    let mut rows = Vec::new();
    for finding in findings {
        let (colour, word) = match finding.status {
            Status::Ok => (Colour::Green, "ok"),
            Status::Warn => (Colour::Yellow, "warn"),
            Status::Fail => (Colour::Red, "fail"),
        };
        rows.push(vec![
            terminal::paint(colour, word),
            finding.topic.clone(),
            finding.found.clone(),
        ]);
        if let Some(hint) = &finding.hint {
            rows.push(vec![String::new(), String::new(), format!("help: {hint}")]);
        }
    }
    columns(&rows)
}
