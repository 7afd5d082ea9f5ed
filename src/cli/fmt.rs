//! `moreline fmt`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::error::{CliError, EXIT_DIFFERENT, EXIT_OK, EXIT_USAGE};
use super::terminal;
use crate::config::{self, ConfigErrors};
use crate::store::{read_text_at_most, replace_keeping_mode};

/// Largest file taken, in bytes.
const MAX_BYTES: u64 = 1 << 22;

/// Arguments of `fmt`.
#[derive(Debug, Args)]
pub(super) struct FmtArguments {
    /// Experiment or site files; `-` reads standard input and writes standard output
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write nothing; exit with 1 if a file is not in form
    #[arg(long)]
    check: bool,
}

/// Formats files; the exit code. Files that are broken stay as they are.
pub(super) fn run(arguments: &FmtArguments) -> Result<u8, CliError> {
    let (mut broken, mut changed) = (false, false);
    for file in &arguments.files {
        let (name, text) = read(file)?;
        match config::format(&name, &text) {
            Ok(formatted) if file == Path::new("-") && !arguments.check => {
                terminal::out(&formatted)?;
            }
            Ok(formatted) if formatted == text => {}
            Ok(formatted) => {
                changed = true;
                write(file, &formatted, arguments.check)?;
            }
            Err(errors) => {
                broken = true;
                complain(&errors);
            }
        }
    }
    Ok(match (broken, arguments.check && changed) {
        (true, _) => EXIT_USAGE,
        (false, true) => EXIT_DIFFERENT,
        (false, false) => EXIT_OK,
    })
}

fn read(file: &Path) -> Result<(String, String), CliError> {
    let fail = |cause| CliError::Read {
        path: file.to_owned(),
        cause,
    };
    if file != Path::new("-") {
        let text = read_text_at_most(file, MAX_BYTES).map_err(fail)?;
        return Ok((file.display().to_string(), text));
    }
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(MAX_BYTES + 1);
    input.read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(fail(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(("standard input".into(), text))
}

fn write(file: &Path, text: &str, check: bool) -> Result<(), CliError> {
    if check {
        return terminal::out(&format!("{}: not in form\n", file.display()));
    }
    // Through a link its target is replaced, not the link.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    replace_keeping_mode(&target, text.as_bytes())?;
    terminal::out(&format!("{}: formatted\n", file.display()))
}

fn complain(errors: &ConfigErrors) {
    terminal::error(&errors.render(terminal::WIDTH, terminal::stderr_colours()));
}
