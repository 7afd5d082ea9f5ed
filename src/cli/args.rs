//! What can be written on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::amount;
use super::check::CheckArguments;
use super::doctor::DoctorArguments;
use super::explain::ExplainArguments;
use super::fmt::FmtArguments;
use super::import::ImportArguments;
use super::pins::PinArguments;
use crate::engine::Selection;

/// One experiment file, end to end: reward models, sampling, selection,
/// fine-tuning and judging.
#[derive(Debug, Parser)]
#[command(name = "moreline", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 all is well; 1 a stage failed; 2 the experiment file, its \
    inputs or the command line are wrong; 3 reading, writing or moreline itself failed; \
    130 interrupted."
)]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run what is not cached, then write the report
    Run(RunArguments),
    /// Say what `run` would do, and why
    Plan(PlanArguments),
    /// Say why a stage runs, field by field, and where the change began
    Explain(ExplainArguments),
    /// List the stages with their results
    Status(QueryArguments),
    /// Show one stage: metrics, outputs, provenance, the text it fed
    Show(ShowArguments),
    /// Write the report of the results there are
    Report(ReportArguments),
    /// Copy a stage's main output to a directory of its own
    Export(ExportArguments),
    /// Turn a raw preference set into rows, as an `import` stage does
    Import(ImportArguments),
    /// List, show and remove the records of runs
    Runs(super::runs::RunsArguments),
    /// Print the log of a stage
    Logs(super::logs::LogsArguments),
    /// Print a table of metrics
    Metrics(super::metrics::MetricsArguments),
    /// Say what differs between two experiments or runs
    Diff(super::diff::DiffArguments),
    /// Look after the cache
    Cache(CacheArguments),
    /// Check experiment files, and everything they name, without running
    Check(CheckArguments),
    /// Bring experiment and site files into one form
    Fmt(FmtArguments),
    /// Say what this machine gives to a run, and what to mend
    Doctor(DoctorArguments),
    /// Print the JSON schema of the experiment file
    Schema(SchemaArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
}

/// An experiment and what changes it.
#[derive(Debug, Args)]
pub(super) struct ExperimentArguments {
    /// The experiment file
    pub(super) file: PathBuf,
    /// Change a setting, for example stage.rm.lr=1e-5; may be repeated
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    pub(super) set: Vec<(String, String)>,
    /// Rehearse: a few rows, steps and tokens everywhere, under keys of their own
    #[arg(long)]
    pub(super) smoke: bool,
    /// The site file (default: moreline.toml beside the experiment, then
    /// moreline/site.toml in the user's configuration directory)
    #[arg(long, value_name = "FILE")]
    pub(super) site: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) experiment: ExperimentArguments,
    /// Stages to run at once (default: as devices and cores allow)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    #[command(flatten)]
    pub(super) selection: SelectionArguments,
    /// After a failure run whatever does not depend on it (the default)
    #[arg(short, long, conflicts_with = "fail_fast")]
    pub(super) keep_going: bool,
    /// After a failure start nothing new; what is running goes on to its end
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Print one JSON object at the end, and nothing else on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but failures
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// Which stages a run is about.
#[derive(Debug, Args)]
pub(super) struct SelectionArguments {
    /// Only this stage and what it needs; may be repeated
    #[arg(long, value_name = "STAGE")]
    pub(super) only: Vec<String>,
    /// This stage, all that depends on it, and what those need; may be repeated
    #[arg(long, value_name = "STAGE")]
    pub(super) from: Vec<String>,
    /// Nothing that lies behind this stage; may be repeated
    #[arg(long, value_name = "STAGE")]
    pub(super) until: Vec<String>,
    /// Compute this stage anew though its result is there; may be repeated
    #[arg(long, value_name = "STAGE")]
    pub(super) force: Vec<String>,
}

impl SelectionArguments {
    /// The same as the engine takes it.
    pub(super) fn selection(&self) -> Selection {
        Selection {
            only: self.only.clone(),
            from: self.from.clone(),
            until: self.until.clone(),
            force: self.force.clone(),
        }
    }
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pub(super) experiment: ExperimentArguments,
    #[command(flatten)]
    pub(super) selection: SelectionArguments,
    /// Exit with 1 if a run would compute something, with 2 if an input is missing
    #[arg(long)]
    pub(super) exit_code: bool,
    /// Ask the site's cache layers, too, for what is not in the cache
    #[arg(long)]
    pub(super) remote: bool,
    /// Print the graph of stages instead
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub(super) graph: Option<GraphFormat>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    /// For Graphviz
    Dot,
    /// For Markdown that draws diagrams
    Mermaid,
    /// For reading
    Text,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct QueryArguments {
    #[command(flatten)]
    pub(super) experiment: ExperimentArguments,
    /// Ask the site's cache layers, too, for what is not in the cache
    #[arg(long)]
    pub(super) remote: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `show`, and most of those of `explain`.
#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    #[command(flatten)]
    pub(super) experiment: ExperimentArguments,
    /// The stage, with its matrix cell: rm, or rm:more
    pub(super) stage: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    #[command(flatten)]
    pub(super) experiment: ExperimentArguments,
    /// Where to write it (default: outputs/NAME beside the experiment)
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    pub(super) experiment: ExperimentArguments,
    /// The stage, with its matrix cell: rm, or rm:more
    pub(super) stage: String,
    /// A new or empty directory
    pub(super) directory: PathBuf,
    /// Write responses in the form of the published programs too: texts, scores
    /// and `<sep>`, or prompts and answers if they are not scored
    #[arg(long)]
    pub(super) published: bool,
}

/// Arguments of `cache`.
#[derive(Debug, Args)]
pub(super) struct CacheArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub(super) command: CacheCommand,
}

/// The commands of `cache`.
#[derive(Debug, Subcommand)]
pub(super) enum CacheCommand {
    /// Say how large it is
    Size(CacheTarget),
    /// Read every object and set damaged ones aside
    Verify(CacheTarget),
    /// Remove what nothing refers to, and what is old or too much
    Gc(GcArguments),
    /// Keep results whatever cleaning is told
    Pin(PinArguments),
    /// Let cleaning remove results again
    Unpin(PinArguments),
    /// List what is pinned
    Pins(CacheTarget),
}

impl CacheCommand {
    /// Whose cache is meant.
    pub(super) fn target(&self) -> CacheTarget {
        match self {
            Self::Size(target) | Self::Verify(target) | Self::Pins(target) => target.clone(),
            Self::Gc(arguments) => arguments.target.clone(),
            Self::Pin(arguments) | Self::Unpin(arguments) => arguments.target(),
        }
    }
}

/// Whose cache.
#[derive(Debug, Clone, Args)]
pub(super) struct CacheTarget {
    /// An experiment whose cache is meant (default: the one of experiments in
    /// this directory)
    pub(super) file: Option<PathBuf>,
    /// The site file
    #[arg(long, value_name = "FILE")]
    pub(super) site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `cache gc`.
#[derive(Debug, Args)]
pub(super) struct GcArguments {
    #[command(flatten)]
    pub(super) target: CacheTarget,
    /// Remove results and checkpoints, the least recently used first, until the
    /// cache takes no more than this, for example 50GB
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    pub(super) max_size: Option<u64>,
    /// Remove results and checkpoints not used for longer than this, for
    /// example 30d or 12h
    #[arg(long, value_name = "AGE", value_parser = amount::age)]
    pub(super) max_age: Option<u64>,
    /// Remove the journals of all runs but the newest N, and keep the results
    /// those used
    #[arg(long, value_name = "N")]
    pub(super) keep_runs: Option<usize>,
    /// Remove nothing; say what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaArguments {
    /// The schema of the site file instead
    #[arg(long)]
    pub(super) site: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    pub(super) shell: Shell,
}

/// A `--set` argument's path and value.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.trim().is_empty() => {
            Ok((path.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write PATH=VALUE, for example stage.rm.lr=1e-5".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn assignments_split_at_the_first_equals_sign() {
        let parsed = assignment("vars.x=a=b");
        assert_eq!(parsed, Ok(("vars.x".into(), "a=b".into())));
        assert!(assignment("novalue").is_err());
        assert!(assignment("=1").is_err());
    }
}
