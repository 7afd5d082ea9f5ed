//! The command line: the only place that prints, reads the environment or
//! sets colours.

mod amount;
mod args;
mod cache;
mod check;
mod diff;
mod doctor;
mod error;
mod explain;
mod export;
mod findings;
mod fmt;
mod graph;
mod headline;
mod import;
mod interrupt;
mod logs;
mod metrics;
mod pins;
mod plan;
mod progress;
mod report;
mod run;
mod runs;
mod session;
mod show;
mod status;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use error::CliError;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing fails only if nobody listens any more.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::from(error::EXIT_OK);
            }
            if session::asked_for_json() {
                let message = error.render().to_string();
                let object = error::error_object(message.trim_end(), Vec::new(), error::EXIT_USAGE);
                let _ = terminal::json(&object);
            }
            return ExitCode::from(error::EXIT_USAGE);
        }
    };
    let json = wants_json(&arguments.command);
    match dispatch(arguments.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if json {
                // Whatever happens, a script gets its one object.
                let _ = terminal::json(&error.as_json());
            }
            terminal::error(&error.render());
            ExitCode::from(error.exit_code())
        }
    }
}

fn wants_json(command: &Command) -> bool {
    match command {
        Command::Run(arguments) => arguments.json,
        Command::Plan(arguments) => arguments.json,
        Command::Status(arguments) => arguments.json,
        Command::Show(arguments) => arguments.json,
        Command::Explain(arguments) => arguments.stage.json,
        Command::Runs(arguments) => arguments.json(),
        Command::Logs(arguments) => arguments.json,
        Command::Metrics(arguments) => arguments.json(),
        Command::Diff(arguments) => arguments.json,
        Command::Cache(arguments) => arguments.command.target().json,
        Command::Import(arguments) => arguments.json,
        Command::Report(_) | Command::Export(_) => false,
        Command::Check(arguments) => arguments.json,
        Command::Doctor(arguments) => arguments.json,
        Command::Schema(_) | Command::Completions(_) | Command::Fmt(_) => false,
    }
}

fn dispatch(command: Command) -> Result<u8, CliError> {
    match command {
        Command::Run(arguments) => return run::run(&arguments),
        Command::Plan(arguments) => return plan::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments)?,
        Command::Status(arguments) => status::run(&arguments)?,
        Command::Show(arguments) => show::run(&arguments)?,
        Command::Report(arguments) => report::run(&arguments)?,
        Command::Export(arguments) => export::run(&arguments)?,
        Command::Import(arguments) => import::run(&arguments)?,
        Command::Runs(arguments) => runs::run(&arguments)?,
        Command::Logs(arguments) => logs::run(&arguments)?,
        Command::Metrics(arguments) => metrics::run(&arguments)?,
        Command::Diff(arguments) => return diff::run(&arguments),
        Command::Cache(arguments) => return cache::run(&arguments),
        Command::Check(arguments) => return check::run(&arguments),
        Command::Fmt(arguments) => return fmt::run(&arguments),
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::Schema(arguments) => {
            let schema = if arguments.site {
                crate::config::site_schema()
            } else {
                crate::config::schema()
            };
            terminal::json(&schema)?;
        }
        Command::Completions(arguments) => {
            let mut text = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(arguments.shell, &mut command, "moreline", &mut text);
            terminal::out(&String::from_utf8_lossy(&text))?;
        }
    }
    Ok(error::EXIT_OK)
}
