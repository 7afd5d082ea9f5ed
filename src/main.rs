//! The `moreline` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    moreline::cli::main()
}
