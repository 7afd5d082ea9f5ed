//! `moreline cache pin`, `unpin` and `pins`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::CacheTarget;
use super::error::{CliError, EXIT_OK};
use super::session::Session;
use super::table::columns;
use super::terminal;
use crate::engine;
use crate::plan::StageKey;
use crate::store::Store;

/// Fewest digits that stand for a key.
const FEWEST: usize = 8;

/// Arguments of `cache pin` and `cache unpin`.
#[derive(Debug, Args)]
pub(super) struct PinArguments {
    /// Stages of the experiment, or keys (the first eight digits will do)
    #[arg(required = true, value_name = "STAGE|KEY")]
    pub(super) names: Vec<String>,
    /// The experiment whose stages are meant
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// The site file
    #[arg(long, value_name = "FILE")]
    pub(super) site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl PinArguments {
    /// Whose cache is meant.
    pub(super) fn target(&self) -> CacheTarget {
        CacheTarget {
            file: self.file.clone(),
            site: self.site.clone(),
            json: self.json,
        }
    }
}

/// A result that is meant.
struct Meant {
    key: StageKey,
    stage: Option<String>,
}

/// Pins results; the exit code.
pub(super) fn pin(arguments: &PinArguments) -> Result<u8, CliError> {
    let session = Session::of_cache(&arguments.target())?;
    let store = engine::store(&session.experiment, &session.site);
    let all = meant(arguments, &session, &store)?;
    for meant in &all {
        store.pin_key(&meant.key, meant.stage.as_deref())?;
    }
    tell(arguments, &all, "pinned")
}

/// Takes pins away; the exit code.
pub(super) fn unpin(arguments: &PinArguments) -> Result<u8, CliError> {
    let session = Session::of_cache(&arguments.target())?;
    let store = engine::store(&session.experiment, &session.site);
    let mut gone = Vec::new();
    for meant in meant(arguments, &session, &store)? {
        if store.unpin_key(&meant.key)? {
            gone.push(meant);
        }
    }
    tell(arguments, &gone, "unpinned")
}

/// Lists the pins; the exit code.
pub(super) fn list(target: &CacheTarget) -> Result<u8, CliError> {
    let session = Session::of_cache(target)?;
    let pins = engine::store(&session.experiment, &session.site).pins()?;
    if target.json {
        terminal::json(&pins)?;
        return Ok(EXIT_OK);
    }
    let rows = pins.into_iter().map(|pin| {
        let stage = pin.stage.unwrap_or_else(|| "-".into());
        vec![pin.key.to_string(), stage, pin.since]
    });
    terminal::out(&columns(&rows.collect::<Vec<_>>()))?;
    Ok(EXIT_OK)
}

fn meant(
    arguments: &PinArguments,
    session: &Session,
    store: &Store,
) -> Result<Vec<Meant>, CliError> {
    let records = store.records()?;
    let pins = store.pins()?;
    let mut known: Vec<(StageKey, Option<String>)> = records
        .into_iter()
        .map(|record| (record.key, Some(record.stage)))
        .chain(pins.into_iter().map(|pin| (pin.key, pin.stage)))
        .collect();
    known.sort();
    known.dedup_by_key(|(key, _)| *key);
    let names = arguments.names.iter();
    names
        .map(|name| match (by_digits(name, &known), &arguments.file) {
            (Some(meant), _) => Ok(meant),
            (None, Some(_)) => by_name(name, session),
            (None, None) => Err(CliError::NoSuchKey { name: name.clone() }),
        })
        .collect()
}

/// The key that these digits stand for: all of them, or the first of just one
/// that is known.
fn by_digits(name: &str, known: &[(StageKey, Option<String>)]) -> Option<Meant> {
    if name.len() < FEWEST {
        return None;
    }
    let mut found = known
        .iter()
        .filter(|(key, _)| key.to_string().starts_with(name));
    match (found.next(), found.next()) {
        (Some((key, stage)), None) => Some(Meant {
            key: *key,
            stage: stage.clone(),
        }),
        _ => None,
    }
}

fn by_name(name: &str, session: &Session) -> Result<Meant, CliError> {
    let stage = session.stage_name(name)?;
    let key = engine::key_of(&session.experiment, &session.site, &stage)?;
    Ok(Meant {
        key,
        stage: Some(stage),
    })
}

fn tell(arguments: &PinArguments, all: &[Meant], done: &str) -> Result<u8, CliError> {
    if arguments.json {
        let keys = all
            .iter()
            .map(|meant| json!({"key": meant.key, "stage": meant.stage}));
        terminal::json(&json!({done: keys.collect::<Vec<_>>()}))?;
        return Ok(EXIT_OK);
    }
    let line = |meant: &Meant| {
        let stage = meant.stage.as_deref().unwrap_or("a stage");
        format!("{done}: {stage}, {}\n", meant.key)
    };
    let lines: String = all.iter().map(line).collect();
    match lines.is_empty() {
        true => terminal::out(&format!("nothing was {done}\n"))?,
        false => terminal::out(&lines)?,
    }
    Ok(EXIT_OK)
}
