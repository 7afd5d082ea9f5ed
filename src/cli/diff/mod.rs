//! `moreline diff`.

mod sections;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::args::{CacheTarget, ExperimentArguments, assignment};
use super::error::{CliError, EXIT_DIFFERENT, EXIT_OK};
use super::session::Session;
use super::terminal;
use crate::engine::{self, Diff, LATEST, PastRun, Runs, Version};
use crate::store::Store;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    /// An experiment file, or a run: its id, what only its id begins with, or
    /// `latest`. Alone, a file is compared with its last run, and a run with its
    /// file
    a: String,
    /// The same; told as the change of the first
    b: Option<String>,
    /// Change a setting of B's file, for example stage.rm.lr=1e-5; may be repeated
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Compare rehearsals
    #[arg(long)]
    smoke: bool,
    /// The site file
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
    /// Exit with 1 if anything differs
    #[arg(long)]
    exit_code: bool,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Compares; the exit code.
pub(super) fn run(arguments: &DiffArguments) -> Result<u8, CliError> {
    let diff = compare(arguments)?;
    if arguments.json {
        terminal::json(&diff)?;
    } else if arguments.markdown {
        terminal::out(&sections::as_markdown(&diff))?;
    } else {
        terminal::out(&sections::as_text(&diff))?;
    }
    Ok(match arguments.exit_code && !diff.same {
        true => EXIT_DIFFERENT,
        false => EXIT_OK,
    })
}

/// What a word names: words that look like a path, or are one, are files.
fn is_file(word: &str) -> bool {
    let path = Path::new(word);
    word.contains(std::path::MAIN_SEPARATOR) || word.ends_with(".toml") || path.is_file()
}

fn compare(arguments: &DiffArguments) -> Result<Diff, CliError> {
    let a = arguments.a.as_str();
    match arguments.b.as_deref() {
        Some(b) if is_file(a) && is_file(b) => {
            let (a, b) = (arguments.open(a, false)?, arguments.open(b, true)?);
            Ok(engine::diff(&file(&a), &file(&b))?)
        }
        Some(b) if is_file(b) => {
            let b = arguments.open(b, true)?;
            let a = Past::of(&b, a)?;
            Ok(engine::diff(&a.version(), &file(&b))?)
        }
        Some(b) if is_file(a) => {
            let a = arguments.open(a, false)?;
            let b = Past::of(&a, b)?;
            Ok(engine::diff(&file(&a), &b.version())?)
        }
        Some(b) => {
            let cache = arguments.cache()?;
            let (a, b) = (Past::of(&cache, a)?, Past::of(&cache, b)?);
            Ok(engine::diff(&a.version(), &b.version())?)
        }
        None if is_file(a) => {
            let b = arguments.open(a, true)?;
            let a = Past::of(&b, LATEST)?;
            Ok(engine::diff(&a.version(), &file(&b))?)
        }
        None => {
            let a = Past::of(&arguments.cache()?, a)?;
            let b = arguments.open(&a.run.experiment, true)?;
            Ok(engine::diff(&a.version(), &file(&b))?)
        }
    }
}

impl DiffArguments {
    /// The experiment of a file; only the second side's settings are changed.
    fn open(&self, path: impl AsRef<Path>, second: bool) -> Result<Session, CliError> {
        Session::open(&ExperimentArguments {
            file: path.as_ref().to_owned(),
            set: match second {
                true => self.set.clone(),
                false => Vec::new(),
            },
            smoke: self.smoke,
            site: self.site.clone(),
        })
    }

    /// The cache of experiments in this directory.
    fn cache(&self) -> Result<Session, CliError> {
        Session::of_cache(&CacheTarget {
            file: None,
            site: self.site.clone(),
            json: self.json,
        })
    }
}

fn file(session: &Session) -> Version<'_> {
    Version::File {
        experiment: &session.experiment,
        site: &session.site,
    }
}

/// A run and its cache.
struct Past {
    store: Arc<Store>,
    run: PastRun,
}

impl Past {
    /// The run of a cache; `latest` is the last of the session's experiment, if
    /// it has one.
    fn of(session: &Session, run: &str) -> Result<Self, CliError> {
        let Session { experiment, site } = session;
        let store = Arc::new(engine::store(experiment, site));
        let runs = Runs::new(&store);
        // The session of a cache alone has no stages.
        let run = match run == LATEST && !experiment.stages.is_empty() {
            true => runs.last_of(experiment)?,
            false => runs.find(run, None)?,
        };
        Ok(Self { store, run })
    }

    fn version(&self) -> Version<'_> {
        Version::Run {
            store: Arc::clone(&self.store),
            run: &self.run,
        }
    }
}
