//! The kinds of stages, and the JSON schemas of single tables, as the protocol's types give them.

use moreline_protocol::spec::{
    EvaluateReward, Generate, Import, Judge, Perplexity, Score, Select, Sft, StageKind, TrainReward,
};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::Value;

use super::error::Problem;
use super::source::At;
use super::suggest;

/// `model.NAME`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelTable {
    /// A Hugging Face directory, a `.gguf` file, or `hf:org/name@revision`.
    pub(super) source: String,
}

/// `data.NAME`, `prompts.NAME` and `responses.NAME`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RowsTable {
    /// The file: `.json`, `.jsonl`, either with `.gz` or `.zst`; for `import` also
    /// `.parquet`. Or `hf:datasets/org/name@revision/file`, with `sha256`.
    pub(super) path: String,
    /// What the file's SHA-256 must be; required for a file of a hub.
    #[serde(default)]
    pub(super) sha256: Option<String>,
    /// Rows to skip at the start.
    #[serde(default)]
    pub(super) offset: u64,
    /// At most this many rows after the offset.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(super) limit: Option<u64>,
}

/// The kind of stage of a name.
pub(super) fn named(name: &str) -> Option<StageKind> {
    StageKind::ALL.into_iter().find(|kind| kind.name() == name)
}

/// What to say of a name that no kind of stage has.
pub(super) fn unknown(name: &str, at: &At) -> Problem {
    let names = StageKind::ALL.map(StageKind::name);
    Problem::at(
        at,
        format!("there is no kind of stage called `{name}`"),
        "unknown kind",
    )
    .hint(suggest::hint(name, names, "kinds"))
}

/// The schema of a type, without references.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    schema
}

/// The schema of a stage's settings, without `kind`.
pub(super) fn of_kind(kind: StageKind) -> Value {
    match kind {
        StageKind::TrainReward => schema_of::<TrainReward>(),
        StageKind::EvaluateReward => schema_of::<EvaluateReward>(),
        StageKind::Generate => schema_of::<Generate>(),
        StageKind::Score => schema_of::<Score>(),
        StageKind::Select => schema_of::<Select>(),
        StageKind::Sft => schema_of::<Sft>(),
        StageKind::Perplexity => schema_of::<Perplexity>(),
        StageKind::Judge => schema_of::<Judge>(),
        StageKind::Import => schema_of::<Import>(),
    }
}
