//! Schedules stages, runs them, and commits what they give.

mod beside;
mod context;
mod diff;
mod error;
mod explain;
mod inputs;
mod journal;
mod layers;
mod log;
mod logs;
mod measured;
mod metrics;
mod models;
mod options;
mod provenance;
mod resident;
mod resolve;
mod runner;
mod runs;
mod schedule;
mod selection;
mod session;
mod sources;
mod strays;
mod summary;
mod supervise;
mod task;
mod tensorboard;
mod view;

pub use diff::{
    Bounds, DataDiff, DataKind, DataSide, Diff, FigureDiff, FoundBy, RowChanges, Rows, RunLabel,
    SideLabel, StageDiff, StageOutcome, Version, diff,
};
pub use error::EngineError;
pub use explain::{Compared, ExplainedStage, Explanation, Found, Root, explain};
pub use inputs::FIND;
pub use layers::Remote;
pub use log::LogTail;
pub use logs::{StageLogs, find_logs};
pub use measured::{Measured, measured};
pub use metrics::flat;
pub use models::fetch_file;
pub use options::{Environment, Observer, RunOptions, Silent};
pub use runner::{Finished, KnownInputs, NothingKnown, StageFailure, StageRunner};
pub use runs::{
    ApiUse, LATEST, PastRun, PastStage, PastState, RunList, RunState, Runs, StageWatch, Unreadable,
};
pub use selection::Selection;
pub use summary::{RunSummary, StageSummary};
pub use view::{RunView, StageView};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use moreline_protocol::artifact::{OutputName, outputs, split_step};

use crate::config::{Experiment, Site};
use crate::event::RunEvent;
use crate::plan::{Plan, PlannedStage, StageKey};
use crate::store::{ActionRecord, Collected, Policy, Store, StoreError, now_rfc3339};
use context::Context;
use inputs::Inputs;
use journal::Journal;
use runs::Snapshot;
use session::{Seen, Session};

/// Runs what is not in the store yet, and reports on every stage. A stage that
/// fails takes down only what depends on it; the summary tells.
pub fn run(
    experiment: &Experiment,
    site: &Site,
    options: &RunOptions<'_>,
    observer: &dyn Observer,
) -> Result<RunSummary, EngineError> {
    let (clock, started) = (Instant::now(), now_rfc3339());
    let mut session = Session::open(experiment, site)?;
    let chosen = session.choose(&options.selection)?;
    let mut writable = session.store.prepare();
    let mut in_use = session.store.use_lock();
    let curves = site.tensorboard.unwrap_or(true);
    let journal = Journal::start(session.store.root(), observer, curves);
    let inputs = Inputs {
        runner: options.runner,
        experiment: &experiment.with_stages(&chosen.wanted),
    };
    let mut sources = session.sources(&chosen.wanted);
    let checked = inputs.check_sources(&sources, &session.store)?;
    if models::pin(&mut session, &sources, options, &journal)? {
        sources = session.sources(&chosen.wanted);
    }
    let session = session;
    journal.event(&RunEvent::RunStarted {
        run: journal.run().to_owned(),
        experiment: experiment.name.clone(),
        stages: chosen.wanted.iter().filter(|wanted| **wanted).count(),
    });
    let context = Context::new(&session, sources, site, options, &journal);
    let stages = schedule::run(&context, &chosen, &mut || {
        std::mem::replace(&mut writable, Ok(()))?;
        if let Err(error) = std::mem::replace(&mut in_use, session.store.use_lock()) {
            return Err(error.into());
        }
        if !checked {
            inputs.check(&context.sources, &session.store)?;
        }
        journal.write(experiment, &started, None)?;
        journal.write_snapshot(&Snapshot::new(experiment, &context.sources))?;
        models::fetch(&session, &context.sources, options, &journal)?;
        let attempts = session.store.attempts(journal.run(), &strays::end)?;
        let _ = context.attempts.set(attempts);
        let _ = runs::prune(&session.store, runs::KEPT);
        Ok(())
    });
    let stages = stages.inspect_err(|_| journal.discard())?;
    let summary = RunSummary {
        run_id: journal.run().to_owned(),
        experiment: experiment.name.clone(),
        stopped: context.is_stopped(),
        seconds: clock.elapsed().as_secs_f64(),
        stages,
    };
    finish(&context, &summary, &started);
    Ok(summary)
}

/// What is written at a run's end is for later questions; a cache that cannot
/// be written is no reason to fail.
fn finish(context: &Context<'_>, summary: &RunSummary, started: &str) {
    let (session, journal) = (context.session, context.journal);
    let experiment = session.graph.experiment();
    let path = &experiment.path;
    let done = summary.stages.iter().filter(|stage| stage.state.is_done());
    let keys: BTreeMap<_, _> = done
        .filter_map(|stage| Some((stage.name.clone(), stage.key?)))
        .collect();
    let _ = session.store.remember_keys(path, &keys);
    let _ = session.store.note_uses(keys.into_values());
    let _ = session.store.save_memo();
    let _ = journal.write(experiment, started, Some(summary));
    let _ = journal.write_snapshot(&Snapshot::new(experiment, &context.sources));
    journal.event(&RunEvent::RunFinished {
        run: summary.run_id.clone(),
        complete: summary.is_complete(),
        seconds: summary.seconds,
    });
}

/// What [`run`] would do. Reads only, takes no locks.
pub fn plan(experiment: &Experiment, site: &Site) -> Result<Plan, EngineError> {
    plan_selected(experiment, site, &Selection::default(), None)
}

/// What [`run`] would do with a selection of the stages. With `remote` the
/// site's cache layers are asked for what the store lacks.
pub fn plan_selected(
    experiment: &Experiment,
    site: &Site,
    selection: &Selection,
    remote: Option<&Remote<'_>>,
) -> Result<Plan, EngineError> {
    let session = Session::open(experiment, site)?.with_remote(remote);
    let chosen = session.choose(selection)?;
    let names = |index| session.graph.stage(index).name.clone();
    let planned = |seen: Seen| {
        let stage = session.graph.stage(seen.index);
        PlannedStage {
            name: stage.name.clone(),
            kind: stage.spec.kind(),
            cell: stage.cell.clone(),
            needs: session.graph.upstream(seen.index).map(names).collect(),
            key: seen.key,
            why: seen.why(),
            state: seen.state,
        }
    };
    let stages = session.look_at(&chosen)?;
    let stages = stages.into_iter().map(planned).collect();
    let _ = session.store.save_memo();
    Ok(Plan {
        experiment: experiment.name.clone(),
        stages,
    })
}

/// Every stage with its record, if committed, and readable paths of its
/// outputs. Takes no locks; writes nothing but views of directories.
pub fn inspect(experiment: &Experiment, site: &Site) -> Result<RunView, EngineError> {
    inspect_with(experiment, site, None)
}

/// The same; with `remote` the site's cache layers are asked for what the store
/// lacks. Outputs that only a layer has get no paths.
pub fn inspect_with(
    experiment: &Experiment,
    site: &Site,
    remote: Option<&Remote<'_>>,
) -> Result<RunView, EngineError> {
    let session = Session::open(experiment, site)?.with_remote(remote);
    let seen = session.look()?.into_iter();
    let stages = seen.map(|seen| stage_view(&session, seen));
    let stages = stages.collect::<Result<_, _>>()?;
    let _ = session.store.save_memo();
    Ok(RunView {
        experiment: experiment.name.clone(),
        title: experiment.title.clone(),
        path: experiment.path.clone(),
        smoke: experiment.smoke,
        stages,
    })
}

fn stage_view(session: &Session<'_>, seen: Seen) -> Result<StageView, EngineError> {
    let stage = session.graph.stage(seen.index);
    let mut outputs = BTreeMap::new();
    if let Some(record) = seen.record.as_ref().filter(|_| seen.layer.is_none()) {
        for (name, output) in &record.outputs {
            outputs.insert(name.clone(), session.store.view(name, output)?);
        }
    }
    Ok(StageView {
        name: stage.name.clone(),
        base: stage.base.clone(),
        cell: stage.cell.clone(),
        kind: stage.spec.kind(),
        spec: stage.spec.clone(),
        state: seen.state,
        key: seen.key,
        record: seen.record.map(|record| *record),
        outputs,
    })
}

/// Copies the main output of a committed stage, or with `STAGE@step-N` the model
/// of a training after a step, to `to`, which must be absent
/// or empty: a directory's files, or one file. Every byte is checked. Returns
/// the files written.
pub fn export(
    experiment: &Experiment,
    site: &Site,
    stage: &str,
    to: &Path,
) -> Result<Vec<PathBuf>, EngineError> {
    let session = Session::open(experiment, site)?;
    let (name, step) = split_step(stage).unwrap_or((stage, None));
    let index = session.index(name)?;
    let no_result = |reason| EngineError::NoResult {
        stage: stage.to_owned(),
        reason,
    };
    let mut stages = session.look()?.into_iter();
    let seen = stages.find(|seen| seen.index == index);
    let (state, record) = match seen {
        Some(seen) => (seen.state.reason(), seen.record),
        None => (String::new(), None),
    };
    let record = record.ok_or_else(|| no_result(state))?;
    let main = step.map_or_else(
        || OutputName::Declared(outputs(&session.graph.stage(index).spec)[0].name),
        OutputName::Step,
    );
    let main = main.to_string();
    let Some(output) = record.outputs.get(&main) else {
        return Err(no_result(format!("its record lacks `{main}`")));
    };
    let files = session.store.export(&main, output, to)?;
    let _ = session.store.note_uses([record.key]);
    Ok(files)
}

/// The present key of the stage of exactly this name.
pub fn key_of(experiment: &Experiment, site: &Site, stage: &str) -> Result<StageKey, EngineError> {
    let session = Session::open(experiment, site)?;
    let index = session.index(stage)?;
    let seen = session.look()?.into_iter().find(|seen| seen.index == index);
    let (key, reason) = match seen {
        Some(seen) => (seen.key, seen.state.reason()),
        None => (None, String::new()),
    };
    key.ok_or_else(|| EngineError::NoResult {
        stage: stage.to_owned(),
        reason,
    })
}

/// Cleans a cache. With `keep_runs` the journals of all runs but the newest go
/// as well, and what those used stays whatever the policy says.
pub fn clean(
    store: &Store,
    policy: Policy,
    keep_runs: Option<usize>,
) -> Result<Collected, StoreError> {
    let mut policy = policy;
    if let Some(kept) = keep_runs {
        policy.keep.extend(runs::used_by_newest(store, kept)?);
    }
    let mut collected = store.gc(&policy, &strays::end)?;
    if let Some(kept) = keep_runs {
        let gone = match policy.dry_run {
            true => runs::prunable(store, kept)?,
            false => runs::prune(store, kept)?,
        };
        collected.runs = gone.len() as u64;
    }
    Ok(collected)
}

/// The store of an experiment, for `cache` commands.
pub fn store(experiment: &Experiment, site: &Site) -> Store {
    Store::open(cache_dir(experiment, site))
}

/// A stage's name as a file name: `rm:more` becomes `rm.more`.
fn file_name(stage: &str) -> String {
    stage
        .chars()
        .map(|c| match c {
            ':' => '.',
            '/' | '\\' | '\0' => '_',
            other => other,
        })
        .collect()
}

/// The directory beside the experiment file that takes its outputs:
/// `outputs/NAME`, or `outputs/NAME.smoke` for a rehearsal.
pub fn output_dir(experiment: &Experiment) -> PathBuf {
    let beside = experiment.path.parent().unwrap_or(Path::new("."));
    let suffix = if experiment.smoke { ".smoke" } else { "" };
    beside
        .join("outputs")
        .join(format!("{}{suffix}", experiment.name))
}

/// The directory beside the experiment file that holds copies of what a record
/// stands for; none if there are none, or those of another result.
pub fn copies(experiment: &Experiment, stage: &str, record: &ActionRecord) -> Option<PathBuf> {
    let dir = output_dir(experiment).join(file_name(stage));
    beside::holds(&dir, record).then_some(dir)
}

/// The cache directory: the site's, else `cache` beside the nearest
/// `Cargo.toml` or `.git` above the experiment, else `.moreline-cache` beside it.
pub fn cache_dir(experiment: &Experiment, site: &Site) -> PathBuf {
    if let Some(cache) = &site.cache {
        return cache.clone();
    }
    let beside = experiment.path.parent().unwrap_or(Path::new("."));
    beside
        .ancestors()
        .find(|dir| dir.join("Cargo.toml").exists() || dir.join(".git").exists())
        .map_or_else(|| beside.join(".moreline-cache"), |dir| dir.join("cache"))
}
