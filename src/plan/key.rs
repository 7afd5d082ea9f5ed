//! The key of a stage: everything that decides its result, and nothing else.
//!
//! | keyed | not keyed |
//! | --- | --- |
//! | kind and its version | the stage's name, title, comments, order of keys |
//! | parameters, defaults filled in | parameters listed in `StageSpec::unkeyed` |
//! | digests of the inputs' bytes, in role order | paths, modification times |
//! | rows taken of each input | host, device, threads, token budget |
//! | names of sets that appear in the result | names of everything else |

use std::fmt;

use moreline_protocol::artifact::{ArtifactType, roles};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::StageSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::label::InputLabel;
use crate::digest::{Canonical, Digest};

/// Name and version of the encoding.
const DOMAIN: &str = "moreline stage key 1";

/// The key of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageKey(pub Digest);

impl fmt::Display for StageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One input as a key sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInput<'a> {
    /// The stage's field.
    pub role: &'a str,
    /// What it holds.
    pub artifact: ArtifactType,
    /// Digest of its bytes.
    pub digest: Digest,
    /// The rows taken.
    pub rows: RowRange,
    /// The name it has in the result.
    pub label: &'a InputLabel,
}

/// The key of a stage with these parameters and inputs. Inputs are in role
/// order and, within a role, in the order of the references.
pub fn stage_key(spec: &StageSpec, inputs: &[KeyInput<'_>]) -> StageKey {
    let mut key = Canonical::new(DOMAIN);
    key.str(spec.kind().name())
        .u64(u64::from(spec.kind().version()))
        .json(&keyed_parameters(spec))
        .u64(inputs.len() as u64);
    for input in inputs {
        let artifact = serde_json::to_value(input.artifact).unwrap_or_default();
        key.str(input.role)
            .json(&artifact)
            .digest(&input.digest)
            .u64(input.rows.offset)
            .optional_u64(input.rows.limit)
            .str(input.label.keyed());
    }
    StageKey(key.finish())
}

/// The parameters of a stage as JSON, without references and what is not keyed.
fn keyed_parameters(spec: &StageSpec) -> Value {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.remove("kind");
        for role in roles(spec.kind()) {
            members.remove(role.field);
        }
        for field in spec.unkeyed() {
            members.remove(*field);
        }
    }
    value
}
