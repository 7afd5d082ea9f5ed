//! The ways in: an experiment file, a site file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{ConfigErrors, Problem};
use super::experiment::Experiment;
use super::files::FileReader;
use super::node::{Node, Table, Value};
use super::overrides;
use super::place::Place;
use super::resolve;
use super::site::{CacheLayer, LayerPlace, Site};
use super::site_rules;
use super::smoke;
use super::source::{At, Sources, absolute};

/// How to read an experiment file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// `--set`: paths and values laid over the file, in order.
    pub set: Vec<(String, String)>,
    /// `--smoke`: cut everything down to a rehearsal.
    pub smoke: bool,
}

/// What became of reading an experiment file.
#[derive(Debug)]
pub struct Loaded {
    /// The experiment. If there are errors, what can be made of the rest: good
    /// for looking at its inputs, not for running.
    pub experiment: Option<Experiment>,
    /// Everything wrong with the file; absent if nothing is.
    pub errors: Option<ConfigErrors>,
    sources: Sources,
    /// Where models and sets say what they are, by name.
    declared: BTreeMap<String, At>,
}

impl Loaded {
    /// Where a model or set says which file it is.
    pub fn place(&self, name: &str) -> Option<Place> {
        let at = self.declared.get(name)?;
        let source = self.sources.get(at.source);
        Some(Place::in_text(&source.name, &source.text, at.span.start))
    }
}

/// Reads, merges, checks and resolves an experiment file. Data and model files
/// are not opened.
///
/// # Errors
/// Everything wrong with the file, with its place and the way out.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Experiment, ConfigErrors> {
    let loaded = read(path, options);
    match (loaded.errors, loaded.experiment) {
        (None, Some(experiment)) => Ok(experiment),
        (errors, _) => Err(errors.unwrap_or_else(|| errors_of(path, Vec::new(), &loaded.sources))),
    }
}

/// The same, giving what can be made of a wrong file as well.
pub fn read(path: &Path, options: &LoadOptions) -> Loaded {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let (mut experiment, mut declared) = (None, BTreeMap::new());
    let file = FileReader {
        sources: &mut sources,
        problems: &mut problems,
    }
    .read(path);
    if let Some(mut file) = file
        && file.sound
    {
        let here = working_directory();
        overrides::apply(
            &mut file.document,
            &options.set,
            &here,
            &mut sources,
            &mut problems,
        );
        experiment = Some(resolve::experiment(&file, &sources, &mut problems));
        declared = declarations(&file.document);
    }
    if let Some(experiment) = &mut experiment
        && options.smoke
    {
        smoke::cut(experiment);
    }
    let wrong = experiment.is_none() || !problems.is_empty();
    Loaded {
        experiment,
        errors: wrong.then(|| errors_of(path, problems, &sources)),
        sources,
        declared,
    }
}

fn declarations(document: &Table) -> BTreeMap<String, At> {
    let mut found = BTreeMap::new();
    for (top, key) in [
        ("model", "source"),
        ("data", "path"),
        ("prompts", "path"),
        ("responses", "path"),
    ] {
        let table = document.get(top).and_then(Node::as_table);
        for entry in table.into_iter().flat_map(|table| &table.entries) {
            let node = entry.node.as_table().and_then(|table| table.get(key));
            let at = node.map_or(&entry.key_at, |node| &node.at);
            found.insert(entry.key.clone(), at.clone());
        }
    }
    found
}

/// Reads the site file: `explicit`, else `moreline.toml` beside the
/// experiment, else `user` (the one in the user's configuration directory),
/// else every default.
///
/// # Errors
/// Everything wrong with the file, with its place and the way out.
pub fn load_site(
    experiment: &Path,
    explicit: Option<&Path>,
    user: Option<&Path>,
) -> Result<Site, ConfigErrors> {
    let beside = experiment
        .parent()
        .unwrap_or(Path::new(""))
        .join("moreline.toml");
    let found = match explicit {
        Some(path) => Some(path.to_path_buf()),
        None => [Some(beside.as_path()), user]
            .into_iter()
            .flatten()
            .find(|path| path.is_file())
            .map(Path::to_path_buf),
    };
    match found {
        Some(path) => read_site(&path),
        None => Ok(Site::default()),
    }
}

/// Reads a site file.
///
/// # Errors
/// Everything wrong with the file, with its place and the way out.
pub fn read_site(path: &Path) -> Result<Site, ConfigErrors> {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let file = FileReader {
        sources: &mut sources,
        problems: &mut problems,
    }
    .read(path);
    let site = file
        .filter(|file| file.sound)
        .and_then(|file| resolve_site(file.document, &mut sources, &mut problems));
    match site {
        Some(site) if problems.is_empty() => Ok(site),
        _ => Err(errors_of(path, problems, &sources)),
    }
}

fn resolve_site(
    mut document: Table,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) -> Option<Site> {
    site_rules::check(&document, sources, problems);
    resolve_layers(&mut document, sources);
    for key in ["cache", "worker"] {
        if let Some(node) = document.get_mut(key)
            && let Value::String(path) = &mut node.value
        {
            let resolved = absolute(&sources.get(node.base).directory, path);
            *path = resolved.to_string_lossy().into_owned();
        }
    }
    resolve_launcher(&mut document, sources);
    if !problems.is_empty() {
        return None;
    }
    serde_json::from_value(document.to_json())
        .map_err(|error| problems.push(Problem::nowhere(format!("cannot be read: {error}"))))
        .ok()
}

/// A launcher given by a path starts from the site file; one given by name is
/// looked for where programs are.
fn resolve_launcher(document: &mut Table, sources: &Sources) {
    if let Some(Value::Array(items)) = document.get_mut("launcher").map(|node| &mut node.value)
        && let Some(node) = items.first_mut()
        && let Value::String(program) = &mut node.value
        && program.contains('/')
    {
        let resolved = absolute(&sources.get(node.base).directory, program);
        *program = resolved.to_string_lossy().into_owned();
    }
}

/// Folders of cache layers start from the site file.
fn resolve_layers(document: &mut Table, sources: &Sources) {
    let Some(Value::Array(layers)) = document.get_mut("cache_layers").map(|node| &mut node.value)
    else {
        return;
    };
    for layer in layers {
        if let Value::Table(table) = &mut layer.value
            && let Some(node) = table.get_mut("url")
            && let Value::String(url) = &mut node.value
            && let Ok(LayerPlace::Folder(_)) = CacheLayer::at(url).place()
        {
            let resolved = absolute(&sources.get(node.base).directory, url);
            *url = resolved.to_string_lossy().into_owned();
        }
    }
}

fn errors_of(path: &Path, mut problems: Vec<Problem>, sources: &Sources) -> ConfigErrors {
    problems.sort_by_key(|problem| {
        problem
            .labels
            .first()
            .map(|(at, _)| (at.source, at.span.start))
    });
    ConfigErrors::new(path.display().to_string(), problems, sources)
}

/// Where relative paths of `--set` start from.
fn working_directory() -> PathBuf {
    std::path::absolute(".").unwrap_or_else(|_| PathBuf::from("."))
}
