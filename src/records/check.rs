//! Reading every input before anything runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use moreline_formats::{ModelConfig, WeightStore, rows};
use moreline_protocol::artifact::{roles, split_step};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::{OneOrMany, StageSpec};

use super::{RecordsError, import};
use crate::config::{Experiment, ModelSource, Referent, RowsDecl};
use crate::engine::{KnownInputs, StageFailure};

/// Raised when a check finds more than before, or less: files found sound by
/// another one are read again.
const CHECK_VERSION: u32 = 1;

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ReadAs {
    Preferences,
    Prompts,
    Examples,
    RawPreferences,
    Model,
}

/// One file and how it is used; the same use is checked once.
type Use = (PathBuf, ReadAs, u64, Option<u64>);

/// Reads and checks every row file and every local model that a stage of the
/// experiment uses: the rows the stages take, and the models' headers. Files
/// that do not exist are left to the plan, which names their stages, and row
/// files that are known to be sound are not read again. Returns every problem
/// found.
pub fn check_inputs(experiment: &Experiment, known: &dyn KnownInputs) -> Vec<StageFailure> {
    let mut uses: BTreeMap<Use, &StageSpec> = BTreeMap::new();
    for stage in &experiment.stages {
        for used in uses_of(experiment, &stage.spec) {
            uses.entry(used).or_insert(&stage.spec);
        }
    }
    let mut problems: Vec<StageFailure> = uses
        .into_iter()
        .filter(|((path, ..), _)| path.exists())
        .filter_map(|(used, spec)| check_unless_known(&used, spec, known).err())
        .collect();
    problems.extend(experiment.stages.iter().filter_map(|stage| {
        let (problem, hint) = trained_parts(experiment, &stage.spec)?;
        Some(StageFailure::new(format!("train `{}`: {problem}", stage.name)).with_hint(hint))
    }));
    problems
}

/// What is wrong with the parts of a local model that a stage wants to train.
fn trained_parts(experiment: &Experiment, spec: &StageSpec) -> Option<(String, String)> {
    let (model, lora, head_of_its_own, blocks) = match spec {
        StageSpec::TrainReward(spec) => (&spec.model, &spec.lora, true, spec.train_blocks),
        StageSpec::Sft(spec) => (&spec.model, &spec.lora, false, spec.train_blocks),
        _ => return None,
    };
    let Some(Referent::Model(model)) = experiment.referent(model) else {
        return None;
    };
    let ModelSource::Path(path) = &model.source else {
        return None;
    };
    // One that cannot be read has been reported.
    let config = ModelConfig::load(path).ok()?;
    let family = config.architecture.is_llama_family();
    if let Some(lora) = lora
        && let Err((target, known)) = lora.modules(family)
    {
        let class = config.architecture.class_stem();
        let problem = format!("a {class} model has no matrix `{target}` to adapt");
        return Some((problem, format!("its `targets` are {known}")));
    }
    (blocks == Some(0) && config.tied && !head_of_its_own).then(|| {
        let problem = "`train_blocks = 0` trains the head alone, but this head is the embedding";
        let hint = "set it to 1 or more, or use `lora`";
        (problem.to_owned(), hint.to_owned())
    })
}

/// The files a stage's references name.
fn uses_of(experiment: &Experiment, spec: &StageSpec) -> Vec<Use> {
    let mut uses = Vec::new();
    for role in roles(spec.kind()) {
        for name in references(spec, role.field) {
            let name = split_step(&name).map_or(name.as_str(), |(stage, _)| stage);
            match experiment.referent(name) {
                Some(Referent::Model(model)) => {
                    if let ModelSource::Path(path) = &model.source {
                        uses.push((path.clone(), ReadAs::Model, 0, None));
                    }
                }
                Some(Referent::Data(rows) | Referent::Prompts(rows)) => {
                    uses.push(rows_use(rows, spec, role.field));
                }
                Some(Referent::Stage(_)) | None => {}
            }
        }
    }
    uses
}

fn rows_use(rows: &RowsDecl, spec: &StageSpec, role: &str) -> Use {
    let read_as = match spec {
        StageSpec::Import(_) => ReadAs::RawPreferences,
        StageSpec::Generate(_) => ReadAs::Prompts,
        StageSpec::Sft(_) | StageSpec::Perplexity(_) => ReadAs::Examples,
        _ => ReadAs::Preferences,
    };
    let range = rows.rows.capped(spec.limit(role));
    (rows.path.clone(), read_as, range.offset, range.limit)
}

/// The names in a reference field of a stage.
fn references(spec: &StageSpec, field: &str) -> Vec<String> {
    let fields = serde_json::to_value(spec).unwrap_or_default();
    let names = fields.get(field).cloned().unwrap_or_default();
    serde_json::from_value::<OneOrMany>(names)
        .map(|names| names.names().to_vec())
        .unwrap_or_default()
}

fn check_unless_known(
    used: &Use,
    spec: &StageSpec,
    known: &dyn KnownInputs,
) -> Result<(), StageFailure> {
    let (path, read_as, offset, limit) = used;
    if *read_as == ReadAs::Model {
        return check_model(path);
    }
    let settings = match (read_as, spec) {
        (ReadAs::RawPreferences, StageSpec::Import(spec)) => serde_json::to_string(spec),
        _ => Ok(String::new()),
    };
    let settings = settings.unwrap_or_default();
    let way = format!("{CHECK_VERSION} {read_as:?} {offset} {limit:?} {settings}");
    if known.is_sound(path, &way) {
        return Ok(());
    }
    check(used, spec)?;
    known.found_sound(path, &way);
    Ok(())
}

fn check((path, read_as, offset, limit): &Use, spec: &StageSpec) -> Result<(), StageFailure> {
    let range = RowRange {
        offset: *offset,
        limit: *limit,
    };
    let checked = match (read_as, spec) {
        (ReadAs::Model, _) => return check_model(path),
        (ReadAs::RawPreferences, StageSpec::Import(spec)) => import::check(path, range, spec),
        (ReadAs::Preferences | ReadAs::RawPreferences, _) => {
            rows::check_preference_file(path, range).map_err(RecordsError::from)
        }
        (ReadAs::Prompts, _) => rows::check_prompt_file(path, range).map_err(RecordsError::from),
        (ReadAs::Examples, _) => rows::check_example_file(path, range).map_err(RecordsError::from),
    };
    checked.map_err(StageFailure::from)
}

/// The configuration and the headers of the weights; no tensor is read.
fn check_model(path: &Path) -> Result<(), StageFailure> {
    ModelConfig::load(path)
        .and_then(|_| WeightStore::open(path))
        .map(drop)
        .map_err(|error| StageFailure::new(error.to_string()))
}
