//! Action records: what a stage's key stands for.

use std::collections::BTreeMap;

use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::event::{Fingerprint, Metrics};
use moreline_protocol::job::{Resources, RowRange};
use moreline_protocol::spec::StageKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::cost::ApiCost;
use super::manifest::is_safe;
use crate::digest::Digest;
use crate::plan::StageKey;

/// Version of the record format; records of another one count as absent.
pub const RECORD_FORMAT: u32 = 1;

/// A committed stage: `cache/actions/KEY.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// [`RECORD_FORMAT`].
    pub format: u32,
    /// The stage's key.
    pub key: StageKey,
    /// The stage's name when it ran, with its cell.
    pub stage: String,
    /// Its kind.
    pub kind: StageKind,
    /// The kind's version.
    pub version: u32,
    /// Its parameters, all resolved, as in the experiment file.
    pub spec: Value,
    /// What it took, in the order it was keyed.
    pub inputs: Vec<RecordedInput>,
    /// What it gave, by output name.
    pub outputs: BTreeMap<String, RecordedOutput>,
    /// Its metrics.
    pub metrics: Metrics,
    /// Where, when and by what it was computed.
    pub provenance: Provenance,
}

/// One input of a committed stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedInput {
    /// The stage's field.
    pub role: String,
    /// The name in the experiment file.
    pub name: String,
    /// What it was.
    pub artifact: ArtifactType,
    /// Digest of its bytes.
    pub digest: Digest,
    /// The slice taken.
    #[serde(default)]
    pub rows: RowRange,
    /// The stage it came from, or the file or repository.
    pub source: String,
}

/// One output of a committed stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedOutput {
    /// File or directory.
    pub form: ObjectForm,
    /// Digest of the file, or of the directory's manifest.
    pub digest: Digest,
    /// Bytes in all.
    pub bytes: u64,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectForm {
    /// One file.
    File,
    /// A directory, stored as a manifest of files.
    Directory,
}

/// Where, when and by what a stage was computed. Never keyed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this program.
    pub moreline: String,
    /// The run that computed it.
    pub run: String,
    /// The experiment file.
    pub experiment: String,
    /// The repository the experiment file lies in.
    pub git: Option<GitState>,
    /// The host.
    pub host: String,
    /// What the machine gave; absent if the engine ran the stage itself.
    pub resources: Option<Resources>,
    /// What the last bits of the numbers depend on.
    pub fingerprint: Option<Fingerprint>,
    /// The stage's seed, if it has one.
    pub seed: Option<u64>,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC.
    pub finished: String,
    /// Seconds from start to end.
    pub seconds: f64,
    /// Seconds by phase, rates and peak memory, as the worker gave them.
    pub timings: BTreeMap<String, f64>,
    /// What the calls of an API cost, if the site file had prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<ApiCost>,
}

/// State of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitState {
    /// The commit checked out.
    pub commit: String,
    /// True if tracked files differ from it; absent if that is unknown.
    pub dirty: Option<bool>,
}

/// A record as it lies on disk, with a checksum over its text.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    sha256: Digest,
    record: T,
}

impl ActionRecord {
    /// The record's file: its JSON, and a digest of it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let text = serde_json::to_string(self).unwrap_or_default();
        let sha256 = Digest::of(text.as_bytes());
        RawValue::from_string(text)
            .and_then(|record| serde_json::to_vec(&Sealed { sha256, record }))
            .unwrap_or_default()
    }

    /// Reads a record's file; nothing if a byte of it changed, or if its
    /// format is another.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let sealed: Sealed<&RawValue> = serde_json::from_slice(bytes).ok()?;
        let text = sealed.record.get();
        if Digest::of(text.as_bytes()) != sealed.sha256 {
            return None;
        }
        let record: Self = serde_json::from_str(text).ok()?;
        let plain = |name: &String| is_safe(name) && !name.contains('/');
        let sound = record.format == RECORD_FORMAT && record.outputs.keys().all(plain);
        sound.then_some(record)
    }
}
