//! Printing, and what the terminals at its ends can do.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line reads the environment"
)]

use std::io::{ErrorKind, IsTerminal, Write};

use serde::Serialize;

use super::error::CliError;

/// Columns that messages are wrapped at.
pub(super) const WIDTH: usize = 100;

/// The colours in use.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    /// Failures.
    Red,
    /// Things done.
    Green,
    /// Warnings.
    Yellow,
    /// What may be overlooked.
    Dim,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Dim => "2",
        }
    }
}

fn colours_wanted() -> bool {
    let unset = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    unset && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// True if standard error is a terminal that shows colours.
pub(super) fn stderr_colours() -> bool {
    std::io::stderr().is_terminal() && colours_wanted()
}

/// True if standard error is a terminal that can redraw lines.
pub(super) fn stderr_redraws() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// True if standard output is a terminal that shows colours.
fn stdout_colours() -> bool {
    std::io::stdout().is_terminal() && colours_wanted()
}

/// The text in a colour, if standard output shows any.
pub(super) fn paint(colour: Colour, text: &str) -> String {
    painted(stdout_colours(), colour, text)
}

/// The text in a colour, if standard error shows any.
pub(super) fn paint_err(colour: Colour, text: &str) -> String {
    painted(stderr_colours(), colour, text)
}

fn painted(wanted: bool, colour: Colour, text: &str) -> String {
    if wanted {
        format!("\x1b[{}m{text}\x1b[0m", colour.code())
    } else {
        text.to_owned()
    }
}

/// Writes text to standard output. A reader that has left is no error.
pub(super) fn out(text: &str) -> Result<(), CliError> {
    stream(text).map(drop)
}

/// The same; false if the reader has left.
pub(super) fn stream(text: &str) -> Result<bool, CliError> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Output(error)),
    }
}

/// A text from outside, on one line and without what steers a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// A character that does nothing to a terminal.
pub(super) fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        other if other.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

/// Writes a value as JSON, with a line's end, to standard output.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::Output(std::io::Error::other(error)))?;
    out(&format!("{text}\n"))
}

/// Writes text to standard error; there is nobody to tell if that fails.
pub(super) fn error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
