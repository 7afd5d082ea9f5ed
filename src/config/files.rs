//! Reading an experiment file and those it extends.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::Problem;
use super::node::{Node, Table};
use super::parse;
use super::source::{At, Source, Sources, absolute};

/// Largest experiment or site file in bytes.
const MAX_BYTES: u64 = 8 << 20;
/// Longest chain of `extends`.
const MAX_CHAIN: usize = 16;

/// A file that was read: its merged document and its place.
pub(super) struct ReadFile {
    /// The document, everything it extends merged in.
    pub(super) document: Table,
    /// The file's absolute path, its directory without symbolic links.
    pub(super) path: PathBuf,
    /// True if the document is worth checking further.
    pub(super) sound: bool,
}

/// Reads files into `sources`, collecting what is wrong.
pub(super) struct FileReader<'a> {
    /// Takes the texts.
    pub(super) sources: &'a mut Sources,
    /// Takes the problems.
    pub(super) problems: &'a mut Vec<Problem>,
}

impl FileReader<'_> {
    /// Reads `path` and what it extends. `None` if there is no such file or it
    /// is no text.
    pub(super) fn read(&mut self, path: &Path) -> Option<ReadFile> {
        self.read_extending(path, None, &mut Vec::new())
    }

    fn read_extending(
        &mut self,
        path: &Path,
        from: Option<&At>,
        chain: &mut Vec<PathBuf>,
    ) -> Option<ReadFile> {
        let (path, name, text) = match read_text(path) {
            Ok((absolute, text)) => (absolute, path.display().to_string(), text),
            Err(message) => {
                self.problems.push(match from {
                    Some(at) => Problem::at(at, message, "named here"),
                    None => Problem::nowhere(message),
                });
                return None;
            }
        };
        if let Some(problem) = chain_problem(&path, from, chain) {
            self.problems.push(problem);
            return None;
        }
        let id = self.sources.add(Source {
            name,
            text: text.into(),
            directory: path.parent().unwrap_or(Path::new("/")).to_path_buf(),
        });
        let before = self.problems.len();
        let document = parse::document(self.sources, id, self.problems);
        let sound = self.problems[before..]
            .iter()
            .all(|problem| problem.message.ends_with("is set twice"));
        chain.push(path.clone());
        let merged = self.merge_base(document, chain);
        chain.pop();
        let (document, base_sound) = merged;
        Some(ReadFile {
            document,
            path,
            sound: sound && base_sound,
        })
    }

    fn merge_base(&mut self, mut document: Table, chain: &mut Vec<PathBuf>) -> (Table, bool) {
        let Some(position) = document.entries.iter().position(|e| e.key == "extends") else {
            return (document, true);
        };
        let extends = document.entries.remove(position).node;
        let Some(base) = self.base_path(&extends) else {
            return (document, false);
        };
        match self.read_extending(&base, Some(&extends.at), chain) {
            Some(mut base) => {
                base.document.merge(document);
                (base.document, base.sound)
            }
            None => (document, false),
        }
    }

    fn base_path(&mut self, extends: &Node) -> Option<PathBuf> {
        let Some(path) = extends.as_str() else {
            let what = extends.value.describe();
            self.problems.push(
                Problem::at(
                    &extends.at,
                    format!("`extends` takes a path, not {what}"),
                    what,
                )
                .hint("write extends = \"base.toml\""),
            );
            return None;
        };
        let own = self.sources.get(extends.at.source);
        let shown = Path::new(&own.name).parent().unwrap_or(Path::new(""));
        // The shorter spelling reads better in messages; both name one file.
        let relative = shown.join(path);
        Some(if relative.exists() {
            relative
        } else {
            absolute(&own.directory, path)
        })
    }
}

fn chain_problem(path: &Path, from: Option<&At>, chain: &[PathBuf]) -> Option<Problem> {
    let at = from?;
    if let Some(start) = chain.iter().position(|earlier| earlier == path) {
        let names: Vec<String> = chain[start..]
            .iter()
            .chain(std::iter::once(&chain[start]))
            .map(|path| file_name(path))
            .collect();
        let message = format!(
            "files extend each other in a circle: {}",
            names.join(" -> ")
        );
        return Some(
            Problem::at(at, message, "closes the circle").hint("take one `extends` out of it"),
        );
    }
    (chain.len() >= MAX_CHAIN).then(|| {
        let message = format!("more than {MAX_CHAIN} files extend each other");
        Problem::at(at, message, "too long a chain")
    })
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The text of a file, its size bounded, and its absolute path.
fn read_text(path: &Path) -> Result<(PathBuf, String), String> {
    let shown = path.display();
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {shown}"),
        _ => format!("failed to read {shown}: {error}"),
    };
    let absolute = std::path::absolute(path).map_err(fail)?;
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    let directory = fs::canonicalize(parent).map_err(fail)?;
    let file = fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!(
            "{shown} is larger than {} KiB: not an experiment file",
            MAX_BYTES >> 10
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        format!(
            "{shown} is not UTF-8 text: byte {} is invalid",
            error.utf8_error().valid_up_to()
        )
    })?;
    Ok((
        directory.join(absolute.file_name().unwrap_or_default()),
        text,
    ))
}
