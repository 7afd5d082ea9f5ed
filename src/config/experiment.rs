//! The resolved experiment: what every later layer reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use moreline_protocol::job::RowRange;
use moreline_protocol::spec::StageSpec;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// An experiment file after `extends`, `vars`, `matrix`, `defaults`, `--set`
/// and `--smoke`: names checked, paths absolute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// The file, absolute.
    pub path: PathBuf,
    /// Its stem, for example `quickstart`.
    pub name: String,
    /// Optional title for the report.
    pub title: Option<String>,
    /// Language models by name.
    pub models: BTreeMap<String, ModelDecl>,
    /// Preference sets by name.
    pub data: BTreeMap<String, RowsDecl>,
    /// Prompt sets by name.
    pub prompts: BTreeMap<String, RowsDecl>,
    /// Responses made elsewhere, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub responses: BTreeMap<String, RowsDecl>,
    /// Stages in file order, matrix cells expanded, every reference resolved
    /// to the name of a model, a data set, a prompt set or another stage here.
    pub stages: Vec<StageDecl>,
    /// True for a `--smoke` rehearsal.
    pub smoke: bool,
}

/// `model.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDecl {
    /// Where its files are.
    pub source: ModelSource,
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelSource {
    /// A Hugging Face directory or a `.gguf` file, absolute.
    Path(PathBuf),
    /// `hf:org/name@revision`, fetched and cached.
    Hub {
        /// `org/name`.
        repo: String,
        /// Branch, tag or commit; `main` if the file names none.
        revision: String,
    },
}

/// `data.NAME`, `prompts.NAME` or `responses.NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsDecl {
    /// The file, absolute: `.json`, `.jsonl`, either with `.gz` or `.zst`. Of a
    /// file of a hub, its name as the experiment writes it.
    pub path: PathBuf,
    /// Which rows to take.
    pub rows: RowRange,
    /// What the file's SHA-256 must be; always there for a file of a hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Where the file is fetched from, if it is not a local one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubFile>,
}

/// A file of a data set on the hub: `hf:datasets/org/name@revision/file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubFile {
    /// `org/name`.
    pub repo: String,
    /// Branch, tag or commit; `main` if none is named.
    pub revision: String,
    /// Path of the file in the repository.
    pub file: String,
}

impl std::fmt::Display for HubFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "hf:datasets/{}@{}/{}",
            self.repo, self.revision, self.file
        )
    }
}

/// One stage: a cell of the matrix where it depends on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageDecl {
    /// Unique name: `rm`, or `rm:more` for a matrix cell (`rm:more,7` for two
    /// variables, in the matrix's order).
    pub name: String,
    /// The table's name, `rm`.
    pub base: String,
    /// The matrix variables it depends on and their values here, in the
    /// matrix's order.
    pub cell: Vec<(String, String)>,
    /// Its parameters, all resolved. Reference fields hold names of
    /// [`Experiment::models`], `data`, `prompts` or stages.
    pub spec: StageSpec,
}

/// What a reference field names. Names are unique over all five tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referent<'a> {
    /// A model.
    Model(&'a ModelDecl),
    /// A preference set.
    Data(&'a RowsDecl),
    /// A prompt set.
    Prompts(&'a RowsDecl),
    /// Responses made elsewhere.
    Responses(&'a RowsDecl),
    /// Another stage's main output of the type the role takes.
    Stage(usize),
}

impl Experiment {
    /// The same with only the stages that `wanted` marks, which must need no
    /// others.
    pub fn with_stages(&self, wanted: &[bool]) -> Self {
        let stages = self.stages.iter().zip(wanted);
        Self {
            stages: stages
                .filter(|(_, wanted)| **wanted)
                .map(|(stage, _)| stage.clone())
                .collect(),
            ..self.clone()
        }
    }

    /// The stage of that exact name.
    pub fn stage(&self, name: &str) -> Option<&StageDecl> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// What a reference names.
    pub fn referent(&self, name: &str) -> Option<Referent<'_>> {
        if let Some(model) = self.models.get(name) {
            return Some(Referent::Model(model));
        }
        if let Some(rows) = self.data.get(name) {
            return Some(Referent::Data(rows));
        }
        if let Some(rows) = self.prompts.get(name) {
            return Some(Referent::Prompts(rows));
        }
        if let Some(rows) = self.responses.get(name) {
            return Some(Referent::Responses(rows));
        }
        self.stages
            .iter()
            .position(|stage| stage.name == name)
            .map(Referent::Stage)
    }
}
