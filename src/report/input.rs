//! What a report is made from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use moreline_protocol::artifact;
use moreline_protocol::event::{Fingerprint, Metrics};
use moreline_protocol::spec::{Combine, StageKind, StageSpec};
use serde::Serialize;

/// An experiment with the results it has so far.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportInput {
    /// The experiment's name, for example `quickstart`.
    pub name: String,
    /// Its title, or its name.
    pub title: String,
    /// True for a `--smoke` rehearsal, whose numbers mean nothing.
    pub smoke: bool,
    /// When and where; the only part that differs between equal results.
    pub run: RunFacts,
    /// The stages, in the experiment's order.
    pub stages: Vec<ReportStage>,
}

/// When and where an experiment ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunFacts {
    /// When the newest result was made: RFC 3339, UTC.
    pub finished: Option<String>,
    /// Seconds the run took, from start to end.
    pub wall_seconds: Option<f64>,
    /// Version of this program.
    pub version: String,
    /// Name and value: host, processor, cores, memory, commit.
    pub machine: Vec<(String, String)>,
}

/// One stage and what is known of its results.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportStage {
    /// Unique name, for example `rm:more`.
    pub name: String,
    /// The table's name, `rm`.
    pub base: String,
    /// Matrix variables and values of this cell.
    pub cell: Vec<(String, String)>,
    /// What became of it.
    pub state: StageStatus,
    /// Its parameters.
    pub spec: StageSpec,
    /// Its key, once its inputs are known.
    pub key: Option<String>,
    /// Its results; empty if it has none.
    pub metrics: Metrics,
    /// Seconds by phase, rates and peak memory of the run that gave them.
    pub timings: BTreeMap<String, f64>,
    /// Seconds of the run that gave them, as the engine saw it.
    pub seconds: Option<f64>,
    /// Its outputs by name: file or directory.
    pub outputs: BTreeMap<String, PathBuf>,
    /// Digests of its outputs by name.
    pub digests: BTreeMap<String, String>,
    /// The sets that it read, in order: name, and what tells their rows from any others.
    pub data: Vec<(String, String)>,
    /// What the last bits depend on, for stages run by a worker.
    pub fingerprint: Option<Fingerprint>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageStatus {
    /// It ran.
    Ran,
    /// Its results were there already.
    Cached,
    /// An input was made again but came out the same.
    CutOff,
    /// It failed.
    Failed,
    /// Something it needs failed.
    Skipped,
    /// It has no results yet.
    Pending,
}

impl StageStatus {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Cached => "cached",
            Self::CutOff => "cut off",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Pending => "not run",
        }
    }

    /// True if the stage has results to show.
    pub fn has_results(self) -> bool {
        matches!(self, Self::Ran | Self::Cached | Self::CutOff)
    }
}

impl ReportStage {
    /// The stage's kind.
    pub fn kind(&self) -> StageKind {
        self.spec.kind()
    }

    /// Names that its reference field `role` holds, in order.
    pub fn references(&self, role: &str) -> Vec<String> {
        let Ok(spec) = serde_json::to_value(&self.spec) else {
            return Vec::new();
        };
        match spec.get(role) {
            Some(serde_json::Value::String(name)) => vec![name.clone()],
            Some(serde_json::Value::Array(names)) => names
                .iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The first name of a reference field.
    pub fn reference(&self, role: &str) -> Option<String> {
        self.references(role).into_iter().next()
    }

    /// The reward models it takes, as one name: `a`, or `a + b (min)`.
    pub fn models(&self) -> String {
        let names = self.references(artifact::MODEL);
        let how = match &self.spec {
            StageSpec::Score(spec) => spec.combine,
            StageSpec::EvaluateReward(spec) => spec.combine,
            _ => Combine::default(),
        };
        let how = match how {
            Combine::Mean => "mean",
            Combine::Min => "min",
            Combine::StandardisedMean => "standardised mean",
        };
        match names.as_slice() {
            [] | [_] => names.concat(),
            several => format!("{} ({how})", several.join(" + ")),
        }
    }

    /// What tells the rows of a set it reports on from any others.
    pub fn data_of(&self, set: &str) -> Option<&str> {
        let found = match self.data.as_slice() {
            // The output of a stage has a name of its own in the results.
            [only] => Some(only),
            several => several.iter().find(|(name, _)| name == set),
        };
        found.map(|(_, rows)| rows.as_str())
    }

    /// Names that any of its reference fields hold, without the steps of
    /// intermediate models.
    pub fn all_references(&self) -> Vec<String> {
        let roles = artifact::roles(self.kind());
        let names = roles.iter().flat_map(|role| self.references(role.field));
        let stage = |name: &str| {
            artifact::split_step(name)
                .map_or(name, |(s, _)| s)
                .to_owned()
        };
        names.map(|name| stage(&name)).collect()
    }

    /// A number among the metrics, by the path of names that leads to it.
    pub fn number(&self, path: &[&str]) -> Option<f64> {
        let (first, rest) = path.split_first()?;
        let mut value = self.metrics.get(*first)?;
        for name in rest {
            value = value.get(*name)?;
        }
        value.as_f64()
    }

    /// The list of numbers of that name among the metrics.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let list = self.metrics.get(name).and_then(|value| value.as_array());
        let values = list.map(|list| list.iter().filter_map(serde_json::Value::as_f64));
        values.map(Iterator::collect).unwrap_or_default()
    }

    /// Names of the sets the stage reports on, in the order it was given them.
    pub fn sets(&self) -> Vec<String> {
        let Some(sets) = self.metrics.get("sets").and_then(|value| value.as_object()) else {
            return Vec::new();
        };
        let mut names = self.references("data");
        names.retain(|name| sets.contains_key(name));
        for name in sets.keys() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

impl<'a> From<&'a ReportInput> for Cow<'a, ReportInput> {
    fn from(input: &'a ReportInput) -> Self {
        Cow::Borrowed(input)
    }
}
