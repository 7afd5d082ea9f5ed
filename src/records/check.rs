//! Reading every input before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use moreline_formats::{FormatError, ModelConfig, WeightStore, rows};
use moreline_protocol::artifact::{roles, split_step};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::{OneOrMany, StageSpec, Template};

use super::{RecordsError, import, tokenizer};
use crate::config::{Experiment, ModelSource, Place, Referent, RowsDecl};
use crate::engine::{FIND, KnownInputs, StageFailure};

/// Raised when a check finds more than before, or less: files found sound by
/// another one are read again.
const CHECK_VERSION: u32 = 2;

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ReadAs {
    Preferences,
    Prompts,
    Examples,
    Responses,
    /// Responses for a reward model that is fed one text as it stands.
    PlainResponses,
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
        for used in uses_of(experiment, &stage.spec, known) {
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

/// Every file that a stage of the experiment uses and that is not there.
/// `place` says where the experiment names the file of a model or set.
pub fn missing_inputs(
    experiment: &Experiment,
    place: &dyn Fn(&str) -> Option<Place>,
) -> Vec<StageFailure> {
    let stages = experiment.stages.iter();
    let names: BTreeSet<String> = stages
        .flat_map(|stage| referents(&stage.spec))
        .map(|(_, name)| name)
        .collect();
    let missing = |name: String| {
        let path = match experiment.referent(&name)? {
            Referent::Model(model) => match &model.source {
                ModelSource::Path(path) => path,
                ModelSource::Hub { .. } => return None,
            },
            Referent::Data(rows) | Referent::Prompts(rows) | Referent::Responses(rows) => {
                if rows.hub.is_some() {
                    return None;
                }
                &rows.path
            }
            Referent::Stage(_) => return None,
        };
        let message = format!("find `{name}`: {} does not exist", path.display());
        let failure = || StageFailure::new(message).with_hint(FIND).at(place(&name));
        (!path.exists()).then(failure)
    };
    names.into_iter().filter_map(missing).collect()
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
fn uses_of(experiment: &Experiment, spec: &StageSpec, known: &dyn KnownInputs) -> Vec<Use> {
    let mut uses = Vec::new();
    for (field, name) in referents(spec) {
        match experiment.referent(&name) {
            Some(Referent::Model(model)) => {
                if let ModelSource::Path(path) = &model.source {
                    uses.push((path.clone(), ReadAs::Model, 0, None));
                }
            }
            Some(Referent::Data(rows) | Referent::Prompts(rows) | Referent::Responses(rows)) => {
                let path = match &rows.hub {
                    None => Some(rows.path.clone()),
                    Some(_) => known.fetched(rows),
                };
                uses.extend(path.map(|path| rows_use(experiment, path, rows, spec, field)));
            }
            Some(Referent::Stage(_)) | None => {}
        }
    }
    uses
}

/// What a stage refers to, each with the field it stands in.
fn referents(spec: &StageSpec) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for role in roles(spec.kind()) {
        for name in references(spec, role.field) {
            let name = split_step(&name).map_or(name.as_str(), |(stage, _)| stage);
            found.push((role.field, name.to_owned()));
        }
    }
    found
}

fn rows_use(
    experiment: &Experiment,
    path: PathBuf,
    rows: &RowsDecl,
    spec: &StageSpec,
    role: &str,
) -> Use {
    let read_as = match spec {
        StageSpec::Import(_) => ReadAs::RawPreferences,
        StageSpec::Generate(_) => ReadAs::Prompts,
        StageSpec::Sft(_) | StageSpec::Perplexity(_) => ReadAs::Examples,
        StageSpec::Score(_) | StageSpec::Judge(_) if takes_plain_texts(experiment, spec) => {
            ReadAs::PlainResponses
        }
        StageSpec::Score(_) | StageSpec::Judge(_) | StageSpec::Select(_) => ReadAs::Responses,
        _ => ReadAs::Preferences,
    };
    let range = rows.rows.capped(spec.limit(role));
    (path, read_as, range.offset, range.limit)
}

/// True if a reward model of the stage was trained with `template = "raw"`.
fn takes_plain_texts(experiment: &Experiment, spec: &StageSpec) -> bool {
    let is_raw = |name: &String| {
        let name = split_step(name).map_or(name.as_str(), |(stage, _)| stage);
        let Some(Referent::Stage(index)) = experiment.referent(name) else {
            return false;
        };
        match &experiment.stages[index].spec {
            StageSpec::TrainReward(train) => train.template == Template::Raw,
            _ => false,
        }
    };
    references(spec, "model").iter().any(is_raw)
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
        (ReadAs::Responses | ReadAs::PlainResponses, _) => {
            let plain = *read_as == ReadAs::PlainResponses;
            rows::check_response_file(path, range, plain).map_err(RecordsError::from)
        }
        (ReadAs::Prompts, _) => rows::check_prompt_file(path, range).map_err(RecordsError::from),
        (ReadAs::Examples, _) => rows::check_example_file(path, range).map_err(RecordsError::from),
    };
    checked.map_err(StageFailure::from)
}

/// The configuration, the headers of the weights and the tokenizer's
/// vocabulary; no tensor is read.
fn check_model(path: &Path) -> Result<(), StageFailure> {
    let failure = |error: FormatError| {
        let place = Place::file(path.display().to_string());
        StageFailure::new(error.to_string()).at(Some(place))
    };
    let config = ModelConfig::load(path).map_err(failure)?;
    WeightStore::open(path).map_err(failure)?;
    match path.is_dir() {
        true => tokenizer::check(path, config.vocab_size),
        false => Ok(()),
    }
}
