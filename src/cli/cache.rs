//! `moreline cache`.

use super::args::{CacheArguments, CacheCommand, CacheTarget};
use super::error::{CliError, EXIT_OK, EXIT_STAGE};
use super::session::Session;
use super::table::{bytes, columns};
use super::terminal;
use crate::engine;
use crate::store::{CacheSize, Collected, Store, Verified};

/// Looks after the cache; the exit code.
pub(super) fn run(arguments: &CacheArguments) -> Result<u8, CliError> {
    match &arguments.command {
        CacheCommand::Size(target) => size(target),
        CacheCommand::Verify(target) => verify(target),
        CacheCommand::Gc(arguments) => {
            let collected = store(&arguments.target)?.gc(arguments.dry_run)?;
            gc(&arguments.target, arguments.dry_run, &collected)
        }
    }
}

fn store(target: &CacheTarget) -> Result<Store, CliError> {
    let session = Session::of_cache(target)?;
    Ok(engine::store(&session.experiment, &session.site))
}

fn size(target: &CacheTarget) -> Result<u8, CliError> {
    let store = store(target)?;
    let size: CacheSize = store.size()?;
    if target.json {
        terminal::json(&size)?;
        return Ok(EXIT_OK);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    terminal::out(&columns(&[
        row("cache", store.root().display().to_string()),
        row("committed stages", size.records.to_string()),
        row(
            "objects",
            format!("{} in {} files", bytes(size.object_bytes), size.objects),
        ),
        row("checkpoints", bytes(size.partial_bytes)),
        row("fetched models", bytes(size.hub_bytes)),
        row("journals and the rest", bytes(size.other_bytes)),
    ]))?;
    Ok(EXIT_OK)
}

fn verify(target: &CacheTarget) -> Result<u8, CliError> {
    let found: Verified = store(target)?.verify_all()?;
    let sound = found.damaged.is_empty() && found.damaged_records.is_empty();
    if target.json {
        terminal::json(&found)?;
    } else {
        let mut text = format!(
            "{} objects read, {}; {} damaged\n",
            found.objects,
            bytes(found.bytes),
            found.damaged.len() + found.damaged_records.len()
        );
        for digest in &found.damaged {
            text.push_str(&format!("damaged, set aside: object {digest}\n"));
        }
        for record in &found.damaged_records {
            text.push_str(&format!("damaged: record {record}\n"));
        }
        if !sound {
            text.push_str("the next run makes them anew\n");
        }
        terminal::out(&text)?;
    }
    Ok(if sound { EXIT_OK } else { EXIT_STAGE })
}

fn gc(target: &CacheTarget, dry_run: bool, collected: &Collected) -> Result<u8, CliError> {
    if target.json {
        terminal::json(collected)?;
        return Ok(EXIT_OK);
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    terminal::out(&format!(
        "{verb} {} objects and more, {} in all\n",
        collected.objects,
        bytes(collected.bytes)
    ))?;
    Ok(EXIT_OK)
}
