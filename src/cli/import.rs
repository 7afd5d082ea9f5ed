//! `moreline import`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::{Import, Rating, RawFormat};
use serde_json::json;

use super::args::CacheTarget;
use super::error::CliError;
use super::run::shown;
use super::session::{self, Session};
use super::terminal::{self, Colour};
use crate::config;
use crate::digest::Digest;
use crate::engine;
use crate::records::{Imported, import_file};
use crate::store::unique_name;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// The raw set: .json, .jsonl, either with .gz or .zst, .parquet, or
    /// hf:datasets/ORG/NAME@REVISION/FILE
    source: String,
    /// The file of rows to write; it must not exist
    #[arg(short, long, value_name = "FILE.jsonl")]
    output: PathBuf,
    /// The form of the rows (default: told by the first rows)
    #[arg(long, value_name = "FORM", value_parser = format_parser())]
    format: Option<RawFormat>,
    /// oasst: take only messages of this language, for example en
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// ultrafeedback: take the fine-grained ratings instead of the overall ones
    #[arg(long)]
    fine_grained: bool,
    /// Largest share of bad rows to leave out, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    max_bad_share: f64,
    /// Keep rows that repeat an earlier one
    #[arg(long)]
    keep_duplicates: bool,
    /// Rows to skip at the start
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// At most this many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// What the SHA-256 of the file must be; required for hf: files
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<Digest>,
    /// The site file, for the cache that hf: files are kept in
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

fn format_parser() -> impl TypedValueParser<Value = RawFormat> {
    PossibleValuesParser::new(RawFormat::ALL.map(RawFormat::name)).map(|name| {
        let named = RawFormat::ALL.into_iter().find(|f| f.name() == name);
        named.unwrap_or(RawFormat::Moreline)
    })
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "write a number from 0 to 1".into())
}

/// Turns a raw set into rows with the code of the `import` stage.
pub(super) fn run(arguments: &ImportArguments) -> Result<(), CliError> {
    if arguments.output.exists() {
        return Err(CliError::Exists(arguments.output.clone()));
    }
    let source = source(arguments)?;
    // Only a whole import gets the name.
    let temporary = arguments
        .output
        .with_file_name(unique_name(".moreline-import"));
    let imported = import(arguments, &source, &temporary);
    if imported.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    say(arguments, &imported?)
}

/// The local file to read.
fn source(arguments: &ImportArguments) -> Result<PathBuf, CliError> {
    let usage = CliError::Usage;
    let Some(name) = arguments.source.strip_prefix("hf:") else {
        let path = PathBuf::from(&arguments.source);
        if let Some(wanted) = arguments.sha256 {
            check_digest(&path, &wanted)?;
        }
        return Ok(path);
    };
    let file = config::hub_file(name).map_err(|problem| {
        usage(format!(
            "{problem}; write hf:datasets/ORG/NAME@REVISION/FILE"
        ))
    })?;
    let digest = arguments.sha256.ok_or_else(|| {
        usage("a file of the hub needs --sha256: it says which bytes are meant".into())
    })?;
    let session = Session::of_cache(&CacheTarget {
        file: None,
        site: arguments.site.clone(),
        json: arguments.json,
    })?;
    let store = engine::store(&session.experiment, &session.site);
    store.prepare()?;
    let environment = session::environment(&session.site);
    let cancel = AtomicBool::new(false);
    Ok(engine::fetch_file(
        &store,
        &environment,
        &file,
        &digest,
        &cancel,
    )?)
}

fn check_digest(path: &Path, wanted: &Digest) -> Result<(), CliError> {
    let (found, _) = Digest::of_file(path).map_err(|cause| CliError::Read {
        path: path.to_owned(),
        cause,
    })?;
    match found == *wanted {
        true => Ok(()),
        false => Err(CliError::Usage(format!(
            "the SHA-256 of {} is {found}, not {wanted}",
            path.display()
        ))),
    }
}

fn import(
    arguments: &ImportArguments,
    source: &Path,
    temporary: &Path,
) -> Result<Imported, CliError> {
    let spec = Import {
        data: String::new(),
        format: arguments.format,
        language: arguments.language.clone(),
        rating: match arguments.fine_grained {
            true => Rating::FineGrained,
            false => Rating::Overall,
        },
        max_bad_share: arguments.max_bad_share,
        deduplicate: !arguments.keep_duplicates,
        limit: None,
    };
    let range = RowRange {
        offset: arguments.offset,
        limit: arguments.limit,
    };
    let imported = import_file(source, range, &spec, temporary)?;
    let to = &arguments.output;
    fs::rename(temporary, to).map_err(|cause| CliError::Write {
        path: to.clone(),
        cause,
    })?;
    Ok(imported)
}

fn say(arguments: &ImportArguments, imported: &Imported) -> Result<(), CliError> {
    if let Some(bad) = &imported.problems {
        let label = terminal::paint_err(Colour::Yellow, "warning:");
        terminal::error(&format!("{label} left out: {bad}\n"));
    }
    if arguments.json {
        let mut object = json!(imported);
        object["output"] = shown(&arguments.output).into();
        object["problems"] = problems(imported);
        return terminal::json(&object);
    }
    terminal::out(&summary(arguments, imported))
}

/// What was imported, and what was not, line by line.
fn summary(arguments: &ImportArguments, imported: &Imported) -> String {
    let mut text = format!(
        "{}\n{} of {} rows imported to {}\n",
        imported.read_as(),
        imported.imported,
        imported.rows,
        shown(&arguments.output)
    );
    let mut line = |fate: &str, count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!("{fate}: {count} {what}\n"));
        }
    };
    line(
        "left out",
        imported.duplicates,
        "that repeat an earlier row",
    );
    line("left out", imported.identical, "with identical responses");
    line("left out", imported.bad, "bad");
    for (what, count) in &imported.dropped {
        line("left out", *count, &what.replace('_', " "));
    }
    line("kept", imported.tied, "tied");
    let longer = imported.part_before_last_reply;
    line("kept", longer, "that part before their last reply");
    text
}

/// The first ten bad rows.
fn problems(imported: &Imported) -> serde_json::Value {
    let problems = imported.problems.iter().flat_map(|bad| &bad.problems);
    let problem = |problem: &moreline_formats::rows::RowProblem| {
        json!({
            "line": problem.line,
            "row": problem.record,
            "reason": problem.reason,
        })
    };
    problems.map(problem).collect()
}
