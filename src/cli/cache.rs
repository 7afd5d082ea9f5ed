//! `moreline cache`.

use super::args::{CacheArguments, CacheCommand, CacheTarget, GcArguments};
use super::error::{CliError, EXIT_OK, EXIT_STAGE};
use super::pins;
use super::session::Session;
use super::table::{bytes, columns};
use super::terminal;
use crate::engine;
use crate::store::{CacheSize, Collected, Policy, Store, Verified};

/// Looks after the cache; the exit code.
pub(super) fn run(arguments: &CacheArguments) -> Result<u8, CliError> {
    match &arguments.command {
        CacheCommand::Size(target) => size(target),
        CacheCommand::Verify(target) => verify(target),
        CacheCommand::Gc(arguments) => {
            let policy = Policy {
                max_age: arguments.max_age,
                max_size: arguments.max_size,
                dry_run: arguments.dry_run,
                ..Policy::default()
            };
            let store = store(&arguments.target)?;
            let collected = engine::clean(&store, policy, arguments.keep_runs)?;
            gc(arguments, &collected)
        }
        CacheCommand::Pin(arguments) => pins::pin(arguments),
        CacheCommand::Unpin(arguments) => pins::unpin(arguments),
        CacheCommand::Pins(target) => pins::list(target),
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
        row("pinned", bytes(size.pinned_bytes)),
        row("freed by `gc`", bytes(size.freed.gc)),
        row("  --max-age 90d", bytes(size.freed.unused_90_days)),
        row("  --max-age 30d", bytes(size.freed.unused_30_days)),
        row("  --max-age 7d", bytes(size.freed.unused_7_days)),
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

fn gc(arguments: &GcArguments, collected: &Collected) -> Result<u8, CliError> {
    if arguments.target.json {
        terminal::json(collected)?;
        return Ok(EXIT_OK);
    }
    let verb = match arguments.dry_run {
        true => "would remove",
        false => "removed",
    };
    let many = |count: u64, one: &str| match count {
        1 => format!("1 {one}"),
        more => format!("{more} {one}s"),
    };
    let mut text = format!(
        "{verb} {}, {}, {} and {}: {}; {} left\n",
        many(collected.records, "result"),
        many(collected.objects, "object"),
        many(collected.partials, "checkpoint"),
        many(collected.runs, "journal"),
        bytes(collected.bytes),
        bytes(collected.left_bytes),
    );
    if arguments
        .max_size
        .is_some_and(|most| collected.left_bytes > most)
    {
        text.push_str("the rest is pinned, kept, or not a result: `moreline cache size`\n");
    }
    terminal::out(&text)?;
    Ok(EXIT_OK)
}
