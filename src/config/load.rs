//! The ways in: an experiment file, a site file.

use std::path::{Path, PathBuf};

use super::check;
use super::error::{ConfigErrors, Problem};
use super::experiment::Experiment;
use super::files::FileReader;
use super::kinds::schema_of;
use super::names;
use super::node::{Table, Value};
use super::overrides;
use super::resolve;
use super::site::{CacheLayer, Endpoint, LayerPlace, Site};
use super::smoke;
use super::source::{Sources, absolute};

/// How to read an experiment file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// `--set`: paths and values laid over the file, in order.
    pub set: Vec<(String, String)>,
    /// `--smoke`: cut everything down to a rehearsal.
    pub smoke: bool,
}

/// Reads, merges, checks and resolves an experiment file. Data and model files
/// are not opened.
///
/// # Errors
/// Everything wrong with the file, with its place and the way out.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Experiment, ConfigErrors> {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let mut experiment = None;
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
    }
    match experiment {
        Some(mut experiment) if problems.is_empty() => {
            if options.smoke {
                smoke::cut(&mut experiment);
            }
            Ok(experiment)
        }
        _ => Err(errors(path, problems, &sources)),
    }
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

fn read_site(path: &Path) -> Result<Site, ConfigErrors> {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let file = FileReader {
        sources: &mut sources,
        problems: &mut problems,
    }
    .read(path);
    let site = file
        .filter(|file| file.sound)
        .and_then(|file| resolve_site(file.document, &sources, &mut problems));
    match site {
        Some(site) if problems.is_empty() => Ok(site),
        _ => Err(errors(path, problems, &sources)),
    }
}

fn resolve_site(
    mut document: Table,
    sources: &Sources,
    problems: &mut Vec<Problem>,
) -> Option<Site> {
    check::entries("a site file", &document, &schema_of::<Site>(), problems);
    let schema = schema_of::<Endpoint>();
    for (entry, table) in names::tables(&document, "endpoint", problems) {
        let subject = check::Subject {
            name: &format!("endpoint.{}", entry.key),
            of: "an endpoint",
            at: &entry.key_at,
        };
        check::table(&subject, table, &schema, problems);
    }
    resolve_layers(&mut document, sources, problems);
    for key in ["cache", "worker"] {
        if let Some(node) = document.get_mut(key)
            && let Value::String(path) = &mut node.value
        {
            let resolved = absolute(&sources.get(node.base).directory, path);
            *path = resolved.to_string_lossy().into_owned();
        }
    }
    if !problems.is_empty() {
        return None;
    }
    serde_json::from_value(document.to_json())
        .map_err(|error| problems.push(Problem::nowhere(format!("cannot be read: {error}"))))
        .ok()
}

/// Folders of cache layers start from the site file; other URLs are checked.
fn resolve_layers(document: &mut Table, sources: &Sources, problems: &mut Vec<Problem>) {
    let Some(Value::Array(layers)) = document.get_mut("cache_layers").map(|node| &mut node.value)
    else {
        return;
    };
    for layer in layers {
        let Value::Table(table) = &mut layer.value else {
            continue;
        };
        let Some(node) = table.get_mut("url") else {
            continue;
        };
        let Value::String(url) = &mut node.value else {
            continue;
        };
        let place = CacheLayer::at(url).place();
        match place {
            Ok(LayerPlace::Folder(_)) => {
                let resolved = absolute(&sources.get(node.base).directory, url);
                *url = resolved.to_string_lossy().into_owned();
            }
            Ok(LayerPlace::Bucket { .. }) => {}
            Err(problem) => problems.push(
                Problem::at(&node.at, problem, "not the URL of a cache layer").hint(
                    "write a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
                ),
            ),
        }
    }
}

fn errors(path: &Path, mut problems: Vec<Problem>, sources: &Sources) -> ConfigErrors {
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
